"""Settings of standalone modules: programs that call `init_link()`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from mlink.module import Ports
from mlink.modules.script.settings import CostSettings, ScriptPort, check_ports, port_specs


class ProgramSettings(CostSettings, kw_only=True):
    """Settings of `python`; paths are relative to the bench file.

    The program runs in the Python of the virtual environment `venv` (a folder), else in
    `interpreter`, else in the one of mlink. It registers its ports itself; the connected ones must
    be declared here too.
    """

    main: str
    arguments: list[str] = []
    interpreter: str = ""
    venv: str = ""
    settings_file: str = ""
    """File for the bytes of on_save_settings, which on_load_settings receives."""
    ports_in: list[ScriptPort] = []
    ports_out: list[ScriptPort] = []

    def check(self, bench_dir: Path) -> list[str]:
        """Return the errors that can be found before a run.

        Returns:
            Each problem as "key: what"; empty when there is none.
        """
        problems = []
        if not (bench_dir / self.main).is_file():
            problems.append(f"main: there is no file {bench_dir / self.main}")
        interpreter = program_interpreter(self, bench_dir)
        if shutil.which(interpreter) is None:
            key = "venv" if self.venv else "interpreter"
            problems.append(f"{key}: there is no Python at {interpreter}")
        return problems + self.cost_problems() + check_ports(self.ports_in, self.ports_out)


def program_interpreter(settings: ProgramSettings, bench_dir: Path) -> str:
    """Return the Python interpreter that runs the program."""
    if settings.venv:
        return str(bench_dir / settings.venv / "bin" / "python")
    return settings.interpreter or sys.executable


def program_command(settings: ProgramSettings, bench_dir: Path) -> tuple[str, ...]:
    """Return the program's command line."""
    main = str(bench_dir / settings.main)
    return (program_interpreter(settings, bench_dir), main, *settings.arguments)


def program_ports(settings: ProgramSettings) -> Ports:
    """Return the ports that the bench declares."""
    return port_specs(settings.ports_in), port_specs(settings.ports_out)
