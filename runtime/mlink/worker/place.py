"""Lets the engine see where a worker is: when it asks, also in a C call, and where it crashed.

On a signal that no other code uses, Python's faulthandler appends the calls of all threads to a
file in the run's folder. It needs no interpreter lock, and no line of Python is run. The signal
goes to a thread that exists for it alone: in the main thread it would cut short what the user's
code waits for (sleep() in C returns early), and would not arrive where the user has blocked
signals. A crash of compiled code appends the calls of all threads, too.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import threading
from pathlib import Path

PLACE_SIGNAL = int(signal.SIGRTMAX) - 7
SIMULATION = "simulated devices"
"""In the place of a module's name: the program of simulated devices. No module has that name."""


def place_file(work_dir: Path, module: str) -> Path:
    """Return the file in which a module's worker writes where its main thread is."""
    return work_dir / f"place-{module}.txt"


def answer_for_place(work_dir: Path, module: str) -> None:
    """Answer PLACE_SIGNAL from now on, and note the place of a crash.

    The file begins with the threads: the one that answers (its kernel's id), and the main thread
    (its name in the answer). Without a place for the file, or without a further thread, the place
    stays unknown.
    """
    with contextlib.suppress(OSError, RuntimeError):
        # Open to the end of the process: the handler writes to its descriptor.
        file = place_file(work_dir, module).open("a")
        faulthandler.enable(file)
        faulthandler.register(PLACE_SIGNAL, file, all_threads=True)
        thread = threading.Thread(target=_answer, name="place", daemon=True)
        thread.start()
        file.write(f"{thread.native_id} {threading.main_thread().ident:#018x}\n")
        file.flush()


def _answer() -> None:
    """Wait for ever; signals to the process are for the user's threads, which may wait for them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {PLACE_SIGNAL})
    threading.Event().wait()
