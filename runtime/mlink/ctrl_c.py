"""Ctrl-C and other requests to end, while a program begins: one line and no traceback.

A run ends cleanly on each of ENDING (`engine/interrupt.py`). Signals of faults (SIGSEGV, SIGABRT)
end it as SIGKILL does: its modules close their files by themselves.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_ENDING = (
    "SIGINT SIGTERM SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGALRM SIGVTALRM SIGPROF SIGXCPU SIGPWR SIGIO "
    "SIGSTKFLT"
)
ENDING = (
    *(signal.Signals[name] for name in _ENDING.split()),
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
"""Signals that would end a program, and are no sign of a fault in it."""
_UNHANDLED = (signal.SIG_DFL, signal.default_int_handler)


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program, as Ctrl-C does; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def name_of(number: int) -> str:
    """Return a signal's name; "signal 40" for one without a name of its own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ended_by(error: KeyboardInterrupt) -> tuple[str, int]:
    """Return a line for the user about the signal that ended the program, and its number."""
    number = getattr(error, "number", signal.SIGINT)
    return "interrupted" if number == signal.SIGINT else f"ended by {name_of(number)}", number


def end_on_signals() -> None:
    """From now on a signal ends the process with a line: for imports, when nothing is to be closed.

    Signals that are ignored stay so, such as SIGINT of a job in the background, or SIGHUP under
    nohup.
    """
    _replace(_UNHANDLED, _end)


def raise_on_signals() -> None:
    """From now on a signal raises KeyboardInterrupt, which closes what is open."""
    _replace((_end,), _raise)


def ignore_signals() -> None:
    """From now on signals change nothing: what the program was for is done, and its end is short.

    Without that a signal in the last moments gave a run that had succeeded another exit code.
    """
    _replace((_raise,), signal.SIG_IGN)


def has_own_handler(number: int) -> bool:
    """Return whether the program handles or ignores a signal in a way of its own."""
    return signal.getsignal(number) not in (*_UNHANDLED, _end, _raise)


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


def _replace(old: tuple[object, ...], new: object) -> None:
    for number in ENDING:
        if signal.getsignal(number) in old:
            signal.signal(number, new)  # type: ignore[arg-type]


def _end(number: int, _frame: object) -> NoReturn:
    os.write(2, f"{ended_by(Interrupted(number))[0]}\n".encode())
    os._exit(128 + number)


def _raise(number: int, _frame: object) -> NoReturn:
    raise Interrupted(number)
