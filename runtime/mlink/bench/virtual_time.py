"""Why a bench cannot run in virtual time: devices, modules and companions that need real time.

A module type states by `ModuleType.virtual_time` what it can do. So a bench is refused before
anything of it is opened.
"""

from __future__ import annotations

import math
from typing import get_args

from mlink.bench.bench import Bench, Time
from mlink.bench.file import Problem, Problems, shown
from mlink.bench.module import ModuleConfig
from mlink.bench.tables import scheme_of
from mlink.catalog import companion, device_provider
from mlink.devices import SimulationProvider
from mlink.errors import BenchError, MlinkError

_MOST_SEED = (1 << 63) - 1
"""Largest number in a TOML file, and so in a recording."""
_ONLY_REAL = "runs in real time only"
_REAL_TIME = "Run in real time (--time real)"
_LEFT_OUT = f"{_REAL_TIME}, or remove it from the bench."
_SIMULATED = (
    f"{_REAL_TIME}, or use virtual:uno, virtual:scene, or file:… and images:… at their pace."
)


def wrong_times(time: object, seed: object, speed: object) -> list[Problem]:
    """Return what is wrong with the kind of a run's time, its seed and its speed.

    `Problem.where` is "time", "seed" or "speed". None is right for each: it was not given.
    """
    found = []
    if time is not None and time not in get_args(Time):
        remedy = 'Give "real" or "virtual".'
        found.append(Problem("time", f"{shown(time)} is not a kind of time", remedy))
    if seed is not None and (type(seed) is not int or not 0 <= seed <= _MOST_SEED):
        text = f"must be a whole number, 0 or more and below 2**63, not {shown(seed)}"
        found.append(Problem("seed", text))
    fits = type(speed) in (int, float) and math.isfinite(speed) and speed > 0  # type: ignore[arg-type,operator]
    if speed is not None and not fits:
        found.append(Problem("speed", f"must be a number above 0, not {shown(speed)}"))
    return found


def refuse_wrong_times(time: object, seed: object, speed: object) -> None:
    """Do nothing for arguments of a run that `wrong_times` finds right.

    Raises:
        BenchError: One is wrong.
    """
    for wrong in wrong_times(time, seed, speed):
        raise BenchError(f"{wrong.where}: {wrong.what}", remedy=wrong.remedy)


def needs_real_time(bench: Bench) -> list[Problem]:
    """Return what keeps a bench from running in virtual time; empty when it can.

    A device or companion whose package cannot be loaded is none of these: the run reports it.

    Args:
        bench: A checked bench.
    """
    found = [
        Problem(f"[[{name}]]", what, _LEFT_OUT)
        for name in bench.companions
        if (what := _why_companion_not(bench, name))
    ]
    for module in bench.modules.values():
        what, remedy = _why_not(bench, module)
        if what:
            found.append(Problem(f"[modules.{module.name}]", what, remedy))
    schemes = sorted({scheme_of(spec) for spec in bench.used_devices().values() if simulated(spec)})
    if len(schemes) > 1:
        what = f"devices of several simulations ({', '.join(schemes)}) cannot share virtual time"
        found.append(Problem("[devices]", what, "Use devices of one scheme."))
    return found


def refuse_what_needs_real_time(bench: Bench) -> None:
    """Do nothing for a bench that can run in virtual time.

    Raises:
        BenchError: It cannot; the message lists all reasons.
    """
    problems = Problems(bench.path)
    problems.add_all(needs_real_time(bench))
    problems.raise_if_any()


def simulated(spec: str) -> bool:
    """Return whether a device string names a device that can be simulated in virtual time."""
    try:
        return isinstance(device_provider(scheme_of(spec)), SimulationProvider)
    except MlinkError:
        return False


def _why_companion_not(bench: Bench, name: str) -> str:
    try:
        knows = getattr(companion(name), "virtual_time", False)
    except MlinkError:
        return ""
    if callable(knows):
        return str(knows(bench.companions[name], bench))
    return "" if knows else "acts in real time only"


def _why_not(bench: Bench, module: ModuleConfig) -> tuple[str, str]:
    """Return (why a module cannot run in virtual time, what to do); ("", "") if it can."""
    knows, settings = module.type.virtual_time, module.settings
    if not knows:
        what = f"module type '{module.type.id}' does not state that it knows virtual time"
        remedy = (
            f"{_REAL_TIME}. Its author can set `virtual_time` of its ModuleType, if it starts no "
            "threads, waits by its context alone and has the time from context.clock "
            "(docs/virtual-time.md)."
        )
        return what, remedy
    spec = "" if module.device is None else bench.device_spec(module.device)
    if callable(knows):
        return knows(settings, spec), _SIMULATED if module.type.uses_device else _LEFT_OUT
    if spec and not simulated(spec):
        return f"device '{module.device}' ({spec}) {_ONLY_REAL}", _SIMULATED
    if not spec and module.type.uses_device and settings.names_device():
        return f"the device that its settings name {_ONLY_REAL}", _SIMULATED
    return "", ""
