"""Opens the simulated devices of a bench that runs in virtual time, by their provider."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.tables import scheme_of
from mlink.bench.virtual_time import refuse_what_needs_real_time, simulated
from mlink.catalog import device_provider
from mlink.devices import DeviceEndpoint, Simulation, SimulationProvider
from mlink.engine.guests import Guest, Hosting
from mlink.engine.reaching import STARVED_S

log = logging.getLogger("mlink.devices")


@contextmanager
def open_simulation(
    bench: Bench, work_dir: Path, hosting: Hosting, limit_s: float
) -> Iterator[Simulation | None]:
    """Open all devices of the bench together.

    Args:
        bench: The bench that runs.
        work_dir: The run's own folder.
        hosting: What the engine does while the devices open or close.
        limit_s: Longest time to open, and to close.

    Yields:
        The simulation; None for a bench without devices, or when the run has to end meanwhile.

    Raises:
        BenchError: The bench needs real time.
        DeviceError: A device cannot be provided.
        ControlError: The devices did not open in time.
    """
    refuse_what_needs_real_time(bench)
    own = {key: spec for key, spec in bench.used_devices().items() if simulated(spec)}
    if not own or hosting.ending():
        yield None
        return
    (scheme,) = {scheme_of(spec) for spec in own.values()}
    provider = device_provider(scheme)
    assert isinstance(provider, SimulationProvider)
    together = partial(
        provider.open_simulation,
        own,
        bench.tables.get(scheme, {}),
        devices=bench.devices,
        bench_dir=bench.dir,
        work_dir=work_dir,
        log=log,
    )
    remedy = "Check whether the machine is overloaded."
    limit_s += STARVED_S  # its own limit does not count the time without a processor
    with Guest("the simulation", together, hosting, limit_s=limit_s, remedy=remedy) as simulation:
        yield simulation


def endpoints_of(bench: Bench, simulation: Simulation | None) -> dict[str, DeviceEndpoint]:
    """Return the endpoints of all devices of the bench; a device of no provider is its address."""
    own = {
        key: DeviceEndpoint(name=key, spec=spec, address=spec)
        for key, spec in bench.used_devices().items()
    }
    return own | dict(simulation.endpoints if simulation is not None else {})


def users_of(bench: Bench) -> dict[str, list[str]]:
    """Return the names of the modules that use each device."""
    users: dict[str, list[str]] = {}
    for module in bench.modules.values():
        if module.device:
            users.setdefault(module.device, []).append(module.name)
    return users
