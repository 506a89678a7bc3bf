"""`mlink settings`: the settings window that a Python module or script has of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Annotated

import typer

from mlink.cli.options import BenchFile


def settings(
    bench: BenchFile,
    module: Annotated[str, typer.Argument(help="Module of the bench.")],
) -> None:
    """Open the settings window of a Python module or script, and keep what it saves."""
    import msgspec

    from mlink.bench import load_bench
    from mlink.errors import BenchError, ModuleError
    from mlink.modules.script.settings import has_display, settings_path
    from mlink.proposals import proposal
    from mlink.testing.window import VARIABLE, Asked
    from mlink.worker.connection import program_environment

    checked = load_bench(bench)
    found = checked.modules.get(module)
    if found is None:
        raise BenchError(
            f"there is no module '{module}' in {checked.path}",
            remedy=proposal(module, checked.modules, "modules"),
        )
    file = getattr(found.settings, "settings_file", None)
    is_script = found.type.program is None
    if file is None or not (file or is_script):
        raise BenchError(
            f"module '{module}' has no settings of its own",
            remedy='A module of type "python" needs `settings_file` for them.'
            if file is not None
            else "Its settings are in the bench file.",
        )
    path = settings_path(file, module, checked.dir)
    if not has_display():
        raise ModuleError(
            "there is no display for a window: neither DISPLAY nor WAYLAND_DISPLAY is set",
            remedy=f"Run it on a desktop (or by ssh -X); or edit {path}, if it is text.",
        )
    asked = Asked(
        module, str(checked.dir), str(path), getattr(found.settings, "script", ""),
        getattr(found.settings, "ports_in", []), getattr(found.settings, "ports_out", []),
    )  # fmt: skip
    command = [sys.executable, "-m", "mlink.testing.window"]
    if found.type.program is not None:
        command = list(found.type.program(found.settings, checked.dir))
    environment = program_environment("mlink.testing.window:connect")
    environment[VARIABLE] = msgspec.json.encode(asked).decode()
    try:
        code = subprocess.run(command, cwd=checked.dir, env=environment, check=False).returncode
    except OSError as error:
        raise ModuleError(f"{command[0]} cannot be started: {error.strerror}") from error
    if code == -signal.SIGABRT:
        raise ModuleError(
            f"the window of '{module}' could not be opened: see above",
            remedy="If Qt has no display: run it on a desktop, where DISPLAY is right.",
        )
    if code:
        raise ModuleError(
            f"the settings of '{module}' are as they were: its program ended with {code}",
            remedy="Its messages are above.",
        )
