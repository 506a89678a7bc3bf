"""A module's own settings window, without a run: what `mlink settings` starts in its Python.

The program or script is executed up to the point where its run would begin; then its window is
shown, and what it saves when that is closed is written to its settings file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

import mlink.module
from mlink.errors import MlinkError, ModuleError
from mlink.module import PortSpec
from mlink.modules.script.pyscript import ScriptModule
from mlink.modules.script.settings import ScriptPort, ScriptSettings
from mlink.scripting.backend import LinkEvents, LinkPhase
from mlink.scripting.errors import SyntalosPyError, script_error
from mlink.scripting.link import get_link
from mlink.storage.edl import Dataset, Group
from mlink.sync import SecondaryClockSynchronizer
from mlink.testing.context import RunnerContext
from mlink.testing.ports import RunnerInput, RunnerOutput
from mlink.types import DataType

VARIABLE = "MLINK_SETTINGS_WINDOW"
"""Variable of the environment with the `Asked` of a window, as JSON."""
_PERIOD_S = 0.025
_QT = ("PyQt6", "PySide6", "PyQt5", "PySide2")


class Asked(msgspec.Struct):
    """Whose window is shown, and where its settings are."""

    name: str
    bench_dir: str
    path: str
    script: str = ""
    ports_in: list[ScriptPort] = []
    ports_out: list[ScriptPort] = []


class WindowBackend:
    """Implements `mlink.scripting.backend.LinkBackend` for a window instead of a run."""

    def __init__(self, asked: Asked) -> None:
        self.allow_async_start = True
        self.phase = LinkPhase.STARTING
        self.context = _context(asked)
        self._asked = asked
        self._events: LinkEvents | None = None

    def attach(self, events: LinkEvents) -> None:
        """Take the program's callbacks."""
        self._events = events

    def register_input(self, id: str, title: str, data_type: DataType) -> mlink.module.InputPort:
        """Return a port that nothing is connected to."""
        port = self.context.inputs[id] = RunnerInput(PortSpec(id, data_type, title), {})
        return port

    def register_output(self, id: str, title: str, data_type: DataType) -> mlink.module.OutputPort:
        """Return a port that nothing is connected to."""
        port = self.context.outputs[id] = RunnerOutput(PortSpec(id, data_type, title), {})
        return port

    def signal_idle(self) -> None:
        """Note that the program has made itself ready."""
        self.phase = LinkPhase.IDLE

    def serve_until_shutdown(self, event: Callable[[], object] | None, period_usec: int) -> None:  # noqa: ARG002
        """Show the window until it is closed, and write the settings."""
        try:
            self._show(event)
        except Exception as error:  # noqa: BLE001 - whatever the program's callbacks raise
            _fail(error)

    def _show(self, event: Callable[[], object] | None) -> None:
        events, path = self._events, Path(self._asked.path)
        assert events is not None
        if path.exists() and not events.load_settings(path.read_bytes(), path.parent):
            raise ModuleError(
                f"{path}: the program does not accept these settings",
                remedy="Remove the file to begin with the program's own defaults.",
            )
        if not events.has_settings_window:
            raise ModuleError(
                f"module '{self._asked.name}' has no settings window",
                remedy="Its program sets no on_show_settings; edit its settings file by hand.",
            )
        events.show_settings()
        _wait_until_closed(event)
        _save(path, events.save_settings(path.parent))

    def root_group(self) -> Group:
        """Refuse: there is no run."""
        raise SyntalosPyError("there is no recording: only the settings window is shown")

    def create_dataset(self, preferred_name: str) -> Dataset:
        """Refuse: there is no run."""
        raise SyntalosPyError(f"there is no recording for '{preferred_name}'")

    def keep(self, unit: Dataset | Group) -> None:
        """Do nothing: there is nothing to keep."""

    def create_synchronizer(
        self, expected_frequency_hz: float, id: str
    ) -> SecondaryClockSynchronizer:
        """Refuse: there is no run."""
        what = f"'{id}' at {expected_frequency_hz:g} Hz"
        raise SyntalosPyError(f"there is no clock to synchronise {what} with")

    def close(self) -> None:
        """Do nothing: nothing is open."""


def connect() -> WindowBackend:
    """Return the backend of a program that `mlink settings` has started."""
    return WindowBackend(msgspec.json.decode(os.environ.pop(VARIABLE), type=Asked))


def main() -> None:
    """Show the window of a script (`call_on_show_settings`)."""
    asked = msgspec.json.decode(os.environ.pop(VARIABLE), type=Asked)
    module = ScriptModule(_context(asked))
    path = Path(asked.path)
    try:
        module.load()
        link = get_link()
        if link.on_show_settings is None:
            raise ModuleError(
                f"module '{asked.name}' has no settings window",
                remedy="Its script does not call call_on_show_settings().",
            )
        link.on_show_settings(path.read_bytes() if path.exists() else b"")
        _wait_until_closed(None)
        _save(path, link.saved_settings or b"")
    except Exception as error:  # noqa: BLE001 - whatever the script raises
        _fail(error)


def _context(asked: Asked) -> RunnerContext:
    settings = ScriptSettings(
        script=asked.script, ports_in=asked.ports_in, ports_out=asked.ports_out
    )
    return RunnerContext(asked.name, settings, Path(asked.bench_dir), {}, lambda: None)


def _wait_until_closed(event: Callable[[], object] | None) -> None:
    """Serve windows of Qt and Tk that are still open; others have been closed by now."""
    while _is_open():
        if event is not None:
            event()
        time.sleep(_PERIOD_S)


def _is_open() -> bool:
    for name in _QT:
        widgets: Any = sys.modules.get(f"{name}.QtWidgets")
        if widgets is not None and (application := widgets.QApplication.instance()) is not None:
            application.processEvents()
            return any(each.isVisible() for each in application.topLevelWidgets())
    tkinter: Any = sys.modules.get("tkinter")
    root = getattr(tkinter, "_default_root", None)
    if root is None:
        return False
    try:
        root.update()
        return bool(root.winfo_viewable())
    except tkinter.TclError:  # it was destroyed
        return False


def _save(path: Path, data: bytes) -> None:
    if not data or (path.exists() and path.read_bytes() == data):
        sys.stdout.write("the settings are as they were\n")
        return
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)
    sys.stdout.write(f"the settings are in {path}\n")


def _fail(error: Exception) -> NoReturn:
    known = error if isinstance(error, MlinkError) else script_error(error, "its settings window")
    sys.stderr.write(f"error: {known}\n  → {known.remedy}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
