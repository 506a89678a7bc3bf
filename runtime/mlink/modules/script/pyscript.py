"""The `pyscript` module: runs a user's script that does `import syntalos_mlink`.

The script is executed once when it is loaded. Then its functions prepare(), start(), run() and
stop() are called in the phases of the run. Each of them may be missing or None.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mlink.errors import BenchError, MlinkError, ScriptError
from mlink.module import Module, ModuleContext
from mlink.modules.script.settings import ScriptPort, ScriptSettings, settings_path, show_window
from mlink.refusals import text_of
from mlink.scripting.callbacks import check_function
from mlink.scripting.errors import SyntalosPyError, script_error
from mlink.scripting.link import ScriptLink, set_link

_SWITCH_INTERVAL_S = 0.0001
"""Longest time that threads of the script may hold the GIL (Python's default is 5 ms)."""


class ScriptModule(Module[ScriptSettings]):
    """One user script.

    It runs in the main thread of its worker, with its own folder as working directory and first in
    `sys.path`. Exceptions are reported with the lines of the script (`explain`).
    """

    ahead = True

    def __init__(self, context: ModuleContext[ScriptSettings]) -> None:
        super().__init__(context)
        self._path = context.run_info.bench_dir / self.settings.script
        self._globals: dict[str, Any] = {}
        self._link: ScriptLink | None = None

    def prepare(self) -> None:
        """Execute the script, then call its function `prepare`.

        Raises:
            BenchError: The script cannot be read.
            ScriptError: It is not UTF-8 text, or its `prepare` returns False.
        """
        self.load()
        result = self._call("prepare")
        if result is not None and not result:
            raise ScriptError(
                f"{self._path}: prepare() returned {result!r}: the script refuses to run",
                remedy="See its messages above; return True or None to continue.",
            )
        if self.settings.show_display and self._link is not None:
            show_window(self.log, self._link.show_display)

    def load(self) -> None:
        """Execute the script, and give it its settings.

        The working folder, `sys.path`, `sys.argv` and `__main__` become those of the script.

        Raises:
            BenchError: The script cannot be read.
            ScriptError: It is not UTF-8 text.
        """
        text = self._read()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        os.chdir(self._path.parent)
        sys.path.insert(0, str(self._path.parent))
        sys.argv = [str(self._path)]
        declared = {port.id: port.data_type for port in self.settings.ports_in}
        self._link = ScriptLink(self.context, declared)
        set_link(self._link)
        main = ModuleType("__main__")
        main.__file__ = str(self._path)
        sys.modules["__main__"] = main
        self._globals = main.__dict__
        exec(compile(text, str(self._path), "exec"), self._globals)  # noqa: S102 - the purpose of the module
        if self._settings_file.is_file():
            self._call("set_settings", self._settings_file.read_bytes())

    @property
    def _settings_file(self) -> Path:
        folder = self.context.run_info.bench_dir
        return settings_path(self.settings.settings_file, self.context.name, folder)

    @property
    def globals(self) -> dict[str, Any]:
        """The global names of the script."""
        return self._globals

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        except OSError as error:
            raise BenchError(
                f"the script cannot be read: {self._path}: {error.strerror}",
                remedy="Correct `script` in the bench file; it is relative to the bench file.",
            ) from error
        except UnicodeDecodeError as error:
            raise ScriptError(
                f"{self._path} is not UTF-8 text: {error.reason} at byte {error.start}",
                remedy="Save the script as UTF-8.",
            ) from error

    def start(self) -> None:
        """Call the function `start` of the script."""
        self._call("start")

    def run(self) -> None:
        """Call the function `run` of the script; without one, handle its inputs until the stop."""
        if self._globals.get("run") is None:
            self.context.serve()
        else:
            self._call("run")
            if self._link is not None:
                self._link.hint_without_wait()

    def stop(self) -> None:
        """Call the function `stop` of the script; after that none of its functions is called.

        Hints on what the script did not use are sent then.
        """
        try:
            self._call("stop")
        finally:
            if self._link is not None:
                self._link.hint()
                self._link.end()

    def close(self) -> None:
        """Save the script's settings, if it asked for that, and remove the link.

        A replay does not change those of the lab.
        """
        link, self._link = self._link, None
        set_link(None)
        is_replay = self.context.run_info.time_created is not None
        if link is not None and link.saved_settings is not None and not is_replay:
            self._settings_file.write_bytes(link.saved_settings)

    def explain(self, error: BaseException, phase: str) -> BaseException:
        """Return the error with the lines of the user's script instead of ours.

        Args:
            error: What the script raised, or mlink while it called the script.
            phase: Where: "prepare", "start", "run" or "stop".
        """
        if isinstance(error, MlinkError):
            return error
        return script_error(error, phase, self._port_hint(error))

    def _port_hint(self, error: BaseException) -> str:
        """Return a remedy with the declared ports, if the script used a port that is None."""
        if self._link is None or not self._link.unknown_ports or "None" not in text_of(error):
            return ""
        asked = ", ".join(f"'{port}'" for port in dict.fromkeys(self._link.unknown_ports))
        return (
            f"The bench declares no port {asked} for this script, so it got None. It declares "
            f"{_listed('ports_in', self.settings.ports_in)} and "
            f"{_listed('ports_out', self.settings.ports_out)}."
        )

    def _call(self, name: str, *settings: bytes) -> object:
        function = self._globals.get(name)
        if function is None:
            return None
        try:
            check_function(function, f"'{name}'", *("settings" for _ in settings))
        except SyntalosPyError as error:
            raise ScriptError(f"{self._path}: {error}") from error
        return function(*settings)


def _listed(key: str, ports: list[ScriptPort]) -> str:
    return f"{key}: {', '.join(port.id for port in ports) or 'none'}"
