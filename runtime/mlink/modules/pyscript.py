"""The `pyscript` module: runs a user's script that does `import syntalos_mlink`.

The script's text is executed once when it is loaded; then its functions prepare(), start(),
run() and stop() are called at their time. Each of them may be missing or None.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from mlink.errors import BenchError, MlinkError, ScriptError
from mlink.module import Module, ModuleContext
from mlink.modules.script_settings import ScriptSettings
from mlink.scripting.errors import script_error
from mlink.scripting.link import ScriptLink, set_link


class ScriptModule(Module[ScriptSettings]):
    """One user script."""

    def __init__(self, context: ModuleContext[ScriptSettings]) -> None:
        super().__init__(context)
        self._path = context.run_info.bench_dir / self.settings.script
        self._globals: dict[str, Any] = {}

    def prepare(self) -> None:
        """Execute the script's text, then let it prepare."""
        text = self._read()
        os.chdir(self._path.parent)
        sys.path.insert(0, str(self._path.parent))
        sys.argv = [str(self._path)]
        set_link(ScriptLink(self.context))
        main = ModuleType("__main__")
        main.__file__ = str(self._path)
        sys.modules["__main__"] = main
        self._globals = main.__dict__
        exec(compile(text, str(self._path), "exec"), self._globals)  # noqa: S102 - its purpose
        result = self._call("prepare")
        if result is not None and not result:
            raise ScriptError(
                f"{self._path}: prepare() returned {result!r}: the script refuses to run",
                remedy="See its messages above; return True (or nothing) when all is well.",
            )

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
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
        """Let the script start."""
        self._call("start")

    def run(self) -> None:
        """Let the script run, or serve its inputs until the stop."""
        if self._globals.get("run") is None:
            self.context.serve()
        else:
            self._call("run")

    def stop(self) -> None:
        """Let the script finish."""
        self._call("stop")

    def close(self) -> None:
        """Give the link up."""
        set_link(None)

    def explain(self, error: BaseException, phase: str) -> BaseException:
        """Speak of the user's lines, not of ours."""
        if isinstance(error, MlinkError):
            return error
        return script_error(error, phase)

    def _call(self, name: str) -> object:
        function = self._globals.get(name)
        return None if function is None else function()
