"""Ctrl-C while a program begins: one line and no traceback, whatever is being imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_INTERRUPTED = 130
"""Exit code of the command line for this, which must not be imported here."""


def end_on_ctrl_c() -> None:
    """From now on Ctrl-C ends the process at once: for imports, when nothing has to be closed.

    Under a shell that ignores SIGINT for a job in the background, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def raise_on_ctrl_c() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, which closes what is open."""
    if signal.getsignal(signal.SIGINT) == _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back SIGINT within the block, also in a program that it starts.

    The program calls `let_through` when it has its own handler: before that Python would print a
    traceback of whatever it imports.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Receive a SIGINT that was held back at the start of this program."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end(_number: int, _frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)
