"""Opens the devices of a bench for the length of a run, through their providers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlink.bench import Bench
from mlink.catalog import device_provider
from mlink.devices import DeviceEndpoint

log = logging.getLogger("mlink.devices")


@contextmanager
def open_devices(bench: Bench, work_dir: Path) -> Iterator[dict[str, DeviceEndpoint]]:
    """Open every device that a module uses; each once, by the key that the modules give.

    A device string whose scheme nobody provides is its own address.
    """
    with ExitStack() as stack:
        endpoints: dict[str, DeviceEndpoint] = {}
        for module in bench.modules.values():
            key = module.device
            if key is None or key in endpoints:
                continue
            spec = bench.device_spec(key)
            provider = device_provider(spec.partition(":")[0])
            if provider is None:
                endpoints[key] = DeviceEndpoint(name=key, spec=spec, address=spec)
            else:
                endpoints[key] = stack.enter_context(
                    provider.open(name=key, spec=spec, work_dir=work_dir, log=log)
                )
        yield endpoints
