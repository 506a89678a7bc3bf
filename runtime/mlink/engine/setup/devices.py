"""Opens the devices of a bench for the length of a run, by their providers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.tables import of_scheme, scheme_of
from mlink.catalog import device_provider
from mlink.devices import DeviceEndpoint, TableProvider
from mlink.engine.guests import Entered, Guest, Hosting

log = logging.getLogger("mlink.devices")


@contextmanager
def open_devices(
    bench: Bench, work_dir: Path, hosting: Hosting, limit_s: float
) -> Iterator[dict[str, DeviceEndpoint]]:
    """Open every device that a module uses, once each; yield the endpoints by the modules' keys.

    A device string whose scheme has no provider is its own address ("/dev/ttyACM0"). Devices whose
    scheme has a table in the bench, such as `[virtual]`, are opened together. When the run has to
    end meanwhile, some of the endpoints are missing.

    Args:
        bench: The bench that runs.
        work_dir: The run's own folder.
        hosting: What the engine does while a device opens or closes.
        limit_s: Longest time for each to open, and to close.

    Raises:
        DeviceError: A device cannot be provided.
        ControlError: A device did not open in time.
    """
    specs = bench.used_devices()
    with ExitStack() as stack:
        endpoints: dict[str, DeviceEndpoint] = {}

        def enter(what: str, make: Callable[[], AbstractContextManager[Entered]]) -> Entered | None:
            if hosting.ending():
                return None
            remedy = "Check its program or its connection, and whether the machine is overloaded."
            return stack.enter_context(Guest(what, make, hosting, limit_s=limit_s, remedy=remedy))

        for scheme in bench.tables:
            own = of_scheme(specs, scheme)
            provider = device_provider(scheme)
            if not own or not isinstance(provider, TableProvider):
                log.info("[%s] is not used: no device of this run is '%s:…'", scheme, scheme)
                continue
            together = partial(
                provider.open_together,
                own,
                bench.tables[scheme],
                devices=bench.devices,
                bench_dir=bench.dir,
                work_dir=work_dir,
                log=log,
            )
            endpoints |= enter(f"[{scheme}] of the bench", together) or {}
        for key, spec in specs.items():
            if key in endpoints:
                continue
            provider = device_provider(scheme_of(spec))
            if provider is None:
                endpoints[key] = DeviceEndpoint(name=key, spec=spec, address=spec)
                continue
            alone = partial(provider.open, name=key, spec=spec, work_dir=work_dir, log=log)
            if (endpoint := enter(f"device '{key}' ({spec})", alone)) is not None:
                endpoints[key] = endpoint
        yield endpoints
