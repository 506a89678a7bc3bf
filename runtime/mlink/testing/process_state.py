"""Restores what a script's run changes in the process of the test."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class ProcessState:
    """Keeps the working folder, `sys.path`, `sys.argv`, `__main__` and the imported modules."""

    def __init__(self) -> None:
        self._folder = Path.cwd()
        self._path = list(sys.path)
        self._argv = list(sys.argv)
        self._main = sys.modules["__main__"]
        self._modules = set(sys.modules)

    def restore(self, script_folder: Path) -> None:
        """Restore all of it, and unload the modules imported from the script's folder.

        Args:
            script_folder: Modules whose file is below it are imported anew by the next script.
        """
        os.chdir(self._folder)
        sys.path[:] = self._path
        sys.argv[:] = self._argv
        sys.modules["__main__"] = self._main
        for name in set(sys.modules) - self._modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(script_folder):
                del sys.modules[name]
