"""Decides when to look for a lost board and tracks the state; knows no boards or ports.

    CONNECTED ──lost()──▶ LOST ──found──▶ REOPENING ──opened──▶ CONNECTED
                           ▲                   │
                           └────── pause ──────┘ cannot be opened, or lost again

One thread per loss, which ends when the board is back or `close` is called. The functions that wait
and that start the thread can be replaced, so that tests run on a manual clock.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from mlink.errors import DeviceError

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
"""Longest pause between two searches; a search takes some ms."""
_JOIN_POLL_S: Final = 0.1
_log = logging.getLogger(__name__)


class LinkState(enum.Enum):
    """State of the link to a board."""

    CONNECTED = "connected"
    LOST = "lost"
    REOPENING = "reopening"


class Thread(Protocol):
    """The part of a thread that `Reconnect` uses."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        ...

    def is_alive(self) -> bool:
        """Whether it is running."""
        ...


def start_thread(run: Callable[[], None], name: str) -> Thread:
    """Start the thread for one loss."""
    thread = threading.Thread(target=run, name=f"reconnect {name}", daemon=True)
    thread.start()
    return thread


class Reconnect:
    """Searches and reopens a lost board until it is back.

    Args:
        find: Returns the board's address, None while it is away; may raise DeviceError.
        reopen: Opens the board at an address and restores its state; may raise DeviceError.
        on_state: Called with each new state and a reason or address, in the thread that caused it.
        name: Name of the board, for the thread and the log.
        wait: Waits a number of seconds; returns True when `close` was called.
        start: Starts the thread of a loss.
    """

    def __init__(
        self,
        find: Callable[[], str | None],
        reopen: Callable[[str], None],
        on_state: Callable[[LinkState, str], None],
        *,
        name: str = "",
        wait: Callable[[float], bool] | None = None,
        start: Callable[[Callable[[], None], str], Thread] = start_thread,
    ) -> None:
        self._find = find
        self._reopen = reopen
        self._on_state = on_state
        self._name = name
        self._closing = threading.Event()
        self._wait = wait or self._closing.wait
        self._start = start
        self._lock = threading.Lock()
        self._state = LinkState.CONNECTED
        self._lost_again = False
        self._thread: Thread | None = None

    @property
    def state(self) -> LinkState:
        """State of the link."""
        return self._state

    def lost(self, reason: str) -> None:
        """Handle a loss; may be called from any thread, and more than once per loss."""
        with self._lock:
            if self._state is LinkState.REOPENING:
                self._lost_again = True
            if self._state is not LinkState.CONNECTED or self._closing.is_set():
                return
            self._state = LinkState.LOST
        self._on_state(LinkState.LOST, reason)
        self._thread = self._start(self.run, self._name)

    def run(self) -> None:
        """Search until the board is back or `close` is called; runs in the thread."""
        pause_s = FIRST_PAUSE_S
        reported = ""
        while not self._closing.is_set() and not self._wait(pause_s):
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            try:
                if self._try():
                    return
                reported = ""  # it was away again: report the next refusal
            except DeviceError as error:
                if error.message != reported and not self._closing.is_set():
                    reported = error.message
                    self._set(LinkState.LOST, reported)
            except Exception as error:  # noqa: BLE001 - the thread must go on searching
                _log.exception("%s: reopening failed", self._name)
                self._set(LinkState.LOST, f"reopening failed: {error!r}")

    def close(self, interrupt: Callable[[], None] = lambda: None) -> None:
        """Stop searching; `interrupt` is called repeatedly until a running attempt has ended."""
        self._closing.set()
        thread = self._thread
        while thread is not None and thread.is_alive():
            interrupt()
            thread.join(_JOIN_POLL_S)

    def _try(self) -> bool:
        address = self._find()
        if address is None:
            return False
        self._lost_again = False
        self._set(LinkState.REOPENING, address)
        self._reopen(address)
        with self._lock:
            if self._lost_again:
                self._state = LinkState.LOST
                return False
            self._state = LinkState.CONNECTED
        self._on_state(LinkState.CONNECTED, address)
        return True

    def _set(self, state: LinkState, reason: str) -> None:
        with self._lock:
            self._state = state
        self._on_state(state, reason)
