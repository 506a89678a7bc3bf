"""Names the lines of a test that sleep while its bench is in virtual time and so stands still."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONFTEST = "conftest.py"


@contextmanager
def sleeps_are_named(folder: Path) -> Iterator[None]:
    """Warn of each line of the test's thread that calls `time.sleep`; it sleeps as before.

    Such a line waits for nothing: what the test looks for after it has had no time to happen.

    Args:
        folder: The test's folder; other code, such as a library's, may sleep as it likes.
    """
    really, thread = time.sleep, threading.get_ident()

    def sleep(seconds: float, /) -> None:
        code, line = sys._getframe(1).f_code, sys._getframe(1).f_lineno
        path = Path(code.co_filename)
        own = path.name == _CONFTEST or path.is_relative_to(folder)
        if own and threading.get_ident() == thread:
            text = (
                f"time.sleep({seconds:g}) lets no virtual time pass: use bench.wait({seconds:g}), "
                'or run this test in real time (time="real" in its marker `bench`)'
            )
            warnings.warn_explicit(text, UserWarning, code.co_filename, line)
        really(seconds)

    # `from time import sleep` has put it into other modules
    homes = [each for each in _modules_of(folder) if getattr(each, "sleep", None) is really]
    for home in (time, *homes):
        home.sleep = sleep  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for home in (time, *homes):
            home.sleep = really  # type: ignore[attr-defined]


def _modules_of(folder: Path) -> list[object]:
    """Return the modules of a test's folder that are imported."""
    return [
        module
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None)) and Path(file).is_relative_to(folder)
    ]
