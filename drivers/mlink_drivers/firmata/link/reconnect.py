"""Brings a lost board back: knows when to try, and nothing of boards or ports.

    CONNECTED ──lost()──▶ LOST ──found──▶ REOPENING ──opened──▶ CONNECTED
                           ▲                   │
                           └────── pause ──────┘ cannot be opened, or lost again

One thread per loss, which ends when the board is back or `close` is called. What waits and what
runs the thread are injected, so that tests lead it by a manual clock.
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
"""A plugged-in board is looked for about this often: finding ports takes some ms."""
_JOIN_POLL_S: Final = 0.1
_log = logging.getLogger(__name__)


class LinkState(enum.Enum):
    """Where the link to a board stands."""

    CONNECTED = "connected"
    LOST = "lost"
    REOPENING = "reopening"


class Thread(Protocol):
    """What `start_thread` returns."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        ...

    def is_alive(self) -> bool:
        """Whether it runs."""
        ...


def start_thread(run: Callable[[], None], name: str) -> Thread:
    """Start a thread for one loss."""
    thread = threading.Thread(target=run, name=f"reconnect {name}", daemon=True)
    thread.start()
    return thread


class Reconnect:
    """Tries to get a board back until it is there.

    `find` returns the board's address, None while it is away; `reopen` opens it there and brings
    it to where it was. Both raise DeviceError when something is in the way. `on_state` hears of
    every state with the reason or the address, in the thread that caused it.
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
        """Where the link stands."""
        return self._state

    def lost(self, reason: str) -> None:
        """Hear that the board went away; may be called from any thread, and more than once."""
        with self._lock:
            if self._state is LinkState.REOPENING:
                self._lost_again = True
            if self._state is not LinkState.CONNECTED or self._closing.is_set():
                return
            self._state = LinkState.LOST
        self._on_state(LinkState.LOST, reason)
        self._thread = self._start(self.run, self._name)

    def run(self) -> None:
        """Try until the board is back or `close` is called (the thread's work)."""
        pause_s = FIRST_PAUSE_S
        said = ""
        while not self._closing.is_set() and not self._wait(pause_s):
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            try:
                if self._try():
                    return
                said = ""  # it was away again: a new refusal is news
            except DeviceError as error:
                if error.message != said and not self._closing.is_set():
                    said = error.message
                    self._set(LinkState.LOST, said)
            except Exception as error:  # noqa: BLE001 - this thread may not die without a word
                _log.exception("%s: reopening failed", self._name)
                self._set(LinkState.LOST, f"reopening failed: {error!r}")

    def close(self, interrupt: Callable[[], None] = lambda: None) -> None:
        """Give up; `interrupt` is called until an attempt that runs has ended."""
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
