"""Settings of modules that run a user's script, and the ports that they declare."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from mlink.module import ModuleSettings, Ports, PortSpec
from mlink.proposals import nearest
from mlink.types import DataType

MEASURED = "measured:"
"""How a cost begins that is taken from a recording."""
_MOST_COST_USEC = 60_000_000


class ScriptPort(msgspec.Struct, forbid_unknown_fields=True):
    """A port of a script; `data_type` is a name such as "Frame" or "LineReading".

    The spelling matters: with a name of Syntalos 2.x the script receives values of that type.
    """

    id: str
    """The id that the script uses."""
    data_type: str
    """Type of its items, such as "Frame" or "LineReading"."""
    title: str = ""
    """For displays."""


class CostSettings(ModuleSettings, kw_only=True):
    """What a module's handlers take in virtual time; in real time it has no effect."""

    cost_usec: Annotated[int, msgspec.Meta(ge=0, le=_MOST_COST_USEC)] = 0
    """In virtual time: µs from an item's arrival to the call of its handler, for each item."""
    cost: str = ""
    """In virtual time instead: "measured:FILE", times of a recording of a run in real time."""

    def cost_problems(self) -> list[str]:
        """Return what is wrong with them, each as "key: what"."""
        if not self.cost:
            return []
        if not self.cost.removeprefix(MEASURED) or not self.cost.startswith(MEASURED):
            return [f'cost: {self.cost!r} is not of the form "{MEASURED}RECORDING"; for a fixed '
                    "time use cost_usec"]  # fmt: skip
        return ["cost: give either cost_usec or cost"] if self.cost_usec else []


class ScriptSettings(CostSettings, kw_only=True):
    """Settings of `pyscript`; the script's path is relative to the bench file."""

    script: str
    """The script, a path from the bench's folder."""
    settings_file: str = ""
    """File for what the script gives to `save_settings`; "" is `{module}.settings`, with the
    module's name."""
    show_display: bool = False
    """Whether to show the window of `call_on_show_display` with the run."""
    ports_in: list[ScriptPort] = []
    """Inputs of the script."""
    ports_out: list[ScriptPort] = []
    """Outputs of the script."""

    def check(self, bench_dir: Path) -> list[str]:
        """Return the errors that can be found before a run.

        Returns:
            Each problem as "key: what"; empty when there is none.
        """
        problems = []
        if not (bench_dir / self.script).is_file():
            problems.append(f"script: there is no file {bench_dir / self.script}")
        return problems + self.cost_problems() + check_ports(self.ports_in, self.ports_out)


def show_window(log: logging.Logger, show: Callable[[], bool]) -> None:
    """Show the display window of a module with `show_display`, where there is a display.

    Args:
        log: The module's log.
        show: Shows it; returns False if the module has none.
    """
    if not has_display():
        log.warning("there is no display (DISPLAY, WAYLAND_DISPLAY): its window is not shown")
    elif not show():
        log.warning("show_display: it has no display window (on_show_display)")


def has_display() -> bool:
    """Return whether this program was started where windows can be shown."""
    return any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")))


def settings_path(setting: str, module: str, bench_dir: Path) -> Path:
    """Return the path of a module's `settings_file`; "" is `{module}.settings`."""
    return bench_dir / (setting or "{module}.settings").replace("{module}", module)


def check_ports(ports_in: list[ScriptPort], ports_out: list[ScriptPort]) -> list[str]:
    """Return errors about unknown types and about ids that are used twice.

    Args:
        ports_in: Declared inputs.
        ports_out: Declared outputs.

    Returns:
        One text per error, starting with the settings key.
    """
    problems = []
    for kind, ports in (("ports_in", ports_in), ("ports_out", ports_out)):
        seen = set()
        for port in ports:
            if port.data_type not in DataType.__members__:
                problems.append(
                    f"{kind}.{port.id}: unknown data_type '{port.data_type}'{_hint(port)}"
                )
            if port.id in seen:
                problems.append(f"{kind}.{port.id}: this id is used twice")
            seen.add(port.id)
    return problems


def _hint(port: ScriptPort) -> str:
    close = nearest(port.data_type, DataType.__members__)
    known = ", ".join(DataType.__members__)
    return f": did you mean '{close}'?" if close else f" (known: {known})"


def script_ports(settings: ScriptSettings) -> Ports:
    """Return the ports that the settings declare, without those of unknown types."""
    return port_specs(settings.ports_in), port_specs(settings.ports_out)


def port_specs(ports: list[ScriptPort]) -> tuple[PortSpec, ...]:
    """Return the specifications of the ports, without those of unknown types."""
    return tuple(
        PortSpec(port.id, DataType.from_name(port.data_type), port.title)
        for port in ports
        if port.data_type in DataType.__members__
    )
