"""The module type `upy-workbench` and its settings; the driver is imported in the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from mlink.module import Category, ModuleSettings, ModuleType, Ports
from mlink.modules.script.settings import ScriptPort, check_ports, port_specs
from mlink.types import DataType

_OUT: Final = (DataType.TableRow, DataType.SignalBlockF32, DataType.SignalBlockI32)


class WorkbenchSettings(ModuleSettings, kw_only=True):
    """Settings of an `upy-workbench` module."""

    script: str
    """The program for the board, relative to the bench file."""
    serial_port: str = ""
    """The port to open when the bench sets no device; the key of Syntalos."""
    baud_rate: Annotated[int, Meta(gt=0)] = 115_200
    """Bits per second; boards with a USB of their own ignore it."""
    ports_in: list[ScriptPort] = []
    """Inputs, of type TableRow."""
    ports_out: list[ScriptPort] = []
    """Outputs: TableRow, SignalBlockF32 or SignalBlockI32, by the ids that the program uses."""

    def check(self, bench_dir: Path) -> list[str]:
        """Find what can be seen to be wrong before a run.

        Returns:
            Each problem as "key: what".
        """
        problems = check_ports(self.ports_in, self.ports_out)
        if not (bench_dir / self.script).is_file():
            problems.append(f"script: there is no file {bench_dir / self.script}")
        for key, ports, allowed in (
            ("ports_in", self.ports_in, _OUT[:1]),
            ("ports_out", self.ports_out, _OUT),
        ):
            known = ", ".join(each.name for each in allowed)
            problems += [
                f"{key}.{port.id}: a board has no port of {port.data_type} (valid: {known})"
                for port in ports
                if DataType.__members__.get(port.data_type, allowed[0]) not in allowed
            ]
        return problems


def _ports(settings: WorkbenchSettings) -> Ports:
    return port_specs(settings.ports_in), port_specs(settings.ports_out)


def _real_board(_settings: WorkbenchSettings, _device: str) -> str:
    return "runs a program on a real board, which has a clock of its own"


def _absent(device: str) -> str:
    from mlink_drivers.identity import absent_port  # it loads pyserial and PyUSB

    return absent_port(device)


upy_workbench = ModuleType(
    id="upy-workbench",
    title="MicroPython Workbench",
    summary="Runs a MicroPython program on a board, and exchanges rows and values with it.",
    category=Category.DEVICE,
    settings=WorkbenchSettings,
    implementation="mlink_drivers.micropython.module:WorkbenchModule",
    ports=_ports,
    uses_device=True,
    absent_device=_absent,
    virtual_time=_real_board,
)
