"""Settings of standalone modules: programs that call `init_link()`."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from mlink.module import Ports
from mlink.modules.script.settings import CostSettings, ScriptPort, check_ports, port_specs

NEEDED = ("msgspec>=0.20", "numpy>=2", "tomli-w>=1.1", "xxhash>=3.5", "zstandard>=0.23")
"""What `import syntalos_mlink` needs in another Python than mlink's."""
_PROBE = """
import importlib.util, sys
print(*(n for n in sys.argv[1:] if not importlib.util.find_spec(n.split('>')[0].replace('-', '_'))))
"""
_PROBE_S = 60.0


class ProgramSettings(CostSettings, kw_only=True):
    """Settings of `python`; paths are relative to the bench file.

    The program runs in the Python of the virtual environment `venv` (a folder), else in
    `interpreter`, else in the one of mlink. It registers its ports itself; the connected ones must
    be declared here too.
    """

    main: str
    """The program, a path from the bench's folder."""
    arguments: list[str] = []
    """Its arguments."""
    interpreter: str = ""
    """The Python to run it; "" is that of mlink."""
    venv: str = ""
    """Folder of a virtual environment whose Python runs it."""
    settings_file: str = ""
    """File for the bytes of on_save_settings, which on_load_settings receives; in it `{module}` is
    the module's name."""
    show_display: bool = False
    """Whether to show the window of `on_show_display` with the run."""
    ports_in: list[ScriptPort] = []
    """Inputs that the bench connects."""
    ports_out: list[ScriptPort] = []
    """Outputs that the bench connects."""

    installed_as: ClassVar[str] = ""
    """The module type whose environment mlink makes; "" for no such."""
    unmade: ClassVar[str] = ""
    """That environment, where its requirements are not installed as they are now."""

    def check(self, bench_dir: Path) -> list[str]:
        """Return the errors that can be found before a run.

        Returns:
            Each problem as "key: what"; empty when there is none.
        """
        problems = []
        if not (bench_dir / self.main).is_file():
            problems.append(f"main: there is no file {bench_dir / self.main}")
        interpreter = program_interpreter(self, bench_dir)
        key = "venv" if self.venv else "interpreter"
        if self.venv and self.venv == self.unmade:
            problems.append(
                f"venv: what {self.installed_as} requires is not installed, or has changed; "
                f"install it: mlink modules {self.installed_as} --install"
            )
        elif shutil.which(interpreter) is None:
            problems.append(f"{key}: there is no Python at {interpreter}")
        elif interpreter != sys.executable and (wrong := _lacking(interpreter)):
            problems.append(f"{key}: {wrong}")
        return problems + self.cost_problems() + check_ports(self.ports_in, self.ports_out)


@functools.cache
def _lacking(interpreter: str) -> str:
    """Return what a Python lacks to be a module, as a sentence; "" for nothing."""
    try:
        done = subprocess.run(
            [interpreter, "-c", _PROBE, *NEEDED],
            capture_output=True, text=True, timeout=_PROBE_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{interpreter} cannot be asked for its packages: {error}"
    if done.returncode:
        return f"{interpreter} is no Python 3: it ended with {done.returncode}"
    if not (names := done.stdout.split()):
        return ""
    wanted = " ".join(f"'{name}'" for name in names)
    return (
        f"{interpreter} lacks what syntalos_mlink needs; install it: {interpreter} -m pip install "
        f"{wanted}"
    )


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
