"""Lets the engine see where a worker is: when it asks, also in a C call, and where it crashed.

On a signal that no other code uses, Python's faulthandler appends the main thread's calls to a file
in the run's folder. It needs no interpreter lock, and no line of Python is run. A crash of compiled
code appends the calls of all threads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
from pathlib import Path

PLACE_SIGNAL = int(signal.SIGRTMAX) - 7


def place_file(work_dir: Path, module: str) -> Path:
    """Return the file in which a module's worker writes where its main thread is."""
    return work_dir / f"place-{module}.txt"


def answer_for_place(work_dir: Path, module: str) -> None:
    """Answer PLACE_SIGNAL from now on, and note the place of a crash.

    Without a place for the file the place stays unknown.
    """
    with contextlib.suppress(OSError):
        # Open to the end of the process: the handler writes to its descriptor.
        file = place_file(work_dir, module).open("a")
        faulthandler.register(PLACE_SIGNAL, file, all_threads=False)
        faulthandler.enable(file)
