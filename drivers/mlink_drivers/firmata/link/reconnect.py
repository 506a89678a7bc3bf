"""Decides when to look for a lost board and tracks the state; knows no boards or ports.

    CONNECTED ──lost()──▶ LOST ──found──▶ REOPENING ──opened──▶ CONNECTED
                           ▲                   │
                           └────── pause ──────┘ cannot be opened, or lost again

Searches and attempts are calls of the board's `Waiting`, so they happen in virtual time too.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink.waiting import Registration, Waiting

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
"""Longest pause between two searches; a search takes some ms."""
_INTERRUPT_S: Final = 0.1
_log = logging.getLogger(__name__)


class LinkState(enum.Enum):
    """State of the link to a board."""

    CONNECTED = "connected"
    LOST = "lost"
    REOPENING = "reopening"


class Reconnect:
    """Searches and reopens a lost board until it is back.

    Args:
        find: Returns the board's address, None while it is away; may raise DeviceError.
        reopen: Opens the board at an address and restores its state; may raise DeviceError.
        on_state: Called with each new state and a reason or address, by what caused it.
        waiting: Makes the calls that search and reopen.
    """

    def __init__(
        self,
        find: Callable[[], str | None],
        reopen: Callable[[str], None],
        on_state: Callable[[LinkState, str], None],
        *,
        waiting: Waiting,
    ) -> None:
        self._find = find
        self._reopen = reopen
        self._on_state = on_state
        self._waiting = waiting
        self._lock = threading.Lock()
        self._state = LinkState.CONNECTED
        self._lost_again = ""
        """The reason of a loss during an attempt, or while its success is reported."""
        self._reports_return = False
        """Whether CONNECTED is being reported: a loss meanwhile is reported after it."""
        self._reported = ""
        """The refusal that was reported last; the same one is not reported again."""
        self._closing = False
        self._next: Registration | None = None
        self._attempt_ended = threading.Event()
        self._attempting: threading.Thread | None = None
        """The thread in which an attempt runs."""

    @property
    def state(self) -> LinkState:
        """State of the link."""
        return self._state

    def lost(self, reason: str) -> None:
        """Handle a loss; may be called from any thread, and more than once per loss."""
        with self._lock:
            if self._state is LinkState.REOPENING or self._reports_return:
                self._lost_again = reason
            if self._state is not LinkState.CONNECTED or self._reports_return or self._closing:
                return
            self._state = LinkState.LOST
        self._begin(reason)

    def _begin(self, reason: str) -> None:
        """Report a loss and begin to search."""
        self._on_state(LinkState.LOST, reason)
        self._reported = ""
        self._look_later(FIRST_PAUSE_S)

    def close(self, interrupt: Callable[[], None] = lambda: None) -> None:
        """Stop searching; `interrupt` is called repeatedly until a running attempt has ended."""
        with self._lock:
            self._closing = True
            search, self._next = self._next, None
        if search is not None:
            search.cancel()
        while self._attempting not in (None, threading.current_thread()):
            interrupt()
            self._attempt_ended.wait(_INTERRUPT_S)

    def _look_later(self, pause_s: float) -> None:
        time_ns = self._waiting.now_ns() + round(pause_s * 1e9)
        with self._lock:
            if not self._closing:
                self._next = self._waiting.at(time_ns, lambda: self._look(pause_s))

    def _look(self, pause_s: float) -> None:
        """Search once, after a pause; if the board is not back, do so again later."""
        with self._lock:
            if self._closing:
                return
            self._attempt_ended.clear()
            self._attempting = threading.current_thread()
        try:
            is_back = self._attempt()
        finally:
            self._attempting = None
            self._attempt_ended.set()
        if not is_back:
            self._look_later(min(pause_s * 2, LONGEST_PAUSE_S))

    def _attempt(self) -> bool:
        """Return whether the board is back; report why it is not."""
        try:
            if self._try():
                return True
            self._reported = ""  # it was away again: report the next refusal
        except DeviceError as error:
            if error.message != self._reported and not self._closing:
                self._reported = error.message
                self._set(LinkState.LOST, error.message)
        except Exception as error:  # noqa: BLE001 - it must go on searching
            _log.exception("reopening failed")
            self._set(LinkState.LOST, f"reopening failed: {error!r}")
        return False

    def _try(self) -> bool:
        address = self._find()
        if address is None:
            return False
        self._lost_again = ""
        self._set(LinkState.REOPENING, address)
        self._reopen(address)
        with self._lock:
            if self._lost_again:
                self._state = LinkState.LOST
                return False
            self._state = LinkState.CONNECTED
            self._reports_return = True
        try:
            self._on_state(LinkState.CONNECTED, address)
        finally:
            with self._lock:
                self._reports_return = False
                lost, self._lost_again = self._lost_again, ""
                if lost:
                    self._state = LinkState.LOST
        if lost and not self._closing:
            self._begin(lost)
        return True

    def _set(self, state: LinkState, reason: str) -> None:
        with self._lock:
            self._state = state
        self._on_state(state, reason)
