"""Opens the devices of a bench for the length of a run, by their providers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.tables import of_scheme, scheme_of
from mlink.catalog import device_provider
from mlink.devices import DeviceEndpoint, TableProvider

log = logging.getLogger("mlink.devices")


@contextmanager
def open_devices(bench: Bench, work_dir: Path) -> Iterator[dict[str, DeviceEndpoint]]:
    """Open every device that a module uses, once each; yield the endpoints by the modules' keys.

    A device string whose scheme has no provider is its own address ("/dev/ttyACM0"). Devices whose
    scheme has a table in the bench, such as `[virtual]`, are opened together.

    Raises:
        DeviceError: A device cannot be provided.
    """
    specs = bench.used_devices()
    with ExitStack() as stack:
        endpoints: dict[str, DeviceEndpoint] = {}
        for scheme in bench.tables:
            endpoints |= stack.enter_context(_open_together(bench, scheme, specs, work_dir))
        for key, spec in specs.items():
            if key in endpoints:
                continue
            provider = device_provider(scheme_of(spec))
            if provider is None:
                endpoints[key] = DeviceEndpoint(name=key, spec=spec, address=spec)
            else:
                endpoints[key] = stack.enter_context(
                    provider.open(name=key, spec=spec, work_dir=work_dir, log=log)
                )
        yield endpoints


@contextmanager
def _open_together(
    bench: Bench, scheme: str, specs: dict[str, str], work_dir: Path
) -> Iterator[dict[str, DeviceEndpoint]]:
    """Open the devices of one scheme by its table; yield {} when this run uses none of them."""
    own = of_scheme(specs, scheme)
    provider = device_provider(scheme)
    if not own or not isinstance(provider, TableProvider):
        log.info("[%s] of the bench is not used: no device of this run is '%s:…'", scheme, scheme)
        yield {}
        return
    with provider.open_together(
        own,
        bench.tables[scheme],
        devices=bench.devices,
        bench_dir=bench.dir,
        work_dir=work_dir,
        log=log,
    ) as endpoints:
        yield endpoints
