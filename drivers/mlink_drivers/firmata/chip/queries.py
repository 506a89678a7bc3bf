"""Periodic queries of the chip's time, which also show whether the board still answers.

Calls of the board's `Waiting` make them, often at first and then at a constant interval. They also
prevent the chip from falling back to its first baud rate or into its safe state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink.waiting import Registration, Waiting
from mlink_drivers.firmata.chip.clock import ChipClock

PAUSE_S: Final = 0.25
"""Interval of clock queries once the clock is known."""
FIRST_EXCHANGES: Final = 16
_FIRST_PAUSE_S: Final = 0.02
_PAUSE_GROWS: Final = 1.04
_SILENCE_S: Final = 5.0
_LEAST_UNANSWERED: Final = 6


class ClockQueries:
    """Queries one clock at a time.

    Args:
        send: Sends encoded messages to the board; raises DeviceError when the board is lost.
        waiting: Makes the calls that query the clock.
        pause_s: Interval of queries once the clock is known, in seconds.
        on_query: Called before each query.
        on_exchange: Called after each exchange of the clock.
        on_silence: Called when the board stops answering; no query follows.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        waiting: Waiting,
        pause_s: float,
        *,
        on_query: Callable[[], None],
        on_exchange: Callable[[ChipClock], None],
        on_silence: Callable[[DeviceError], None],
    ) -> None:
        self._send = send
        self._waiting = waiting
        self._pause_s = pause_s
        self._on_query = on_query
        self._on_exchange = on_exchange
        self._on_silence = on_silence
        self._next: Registration | None = None
        self._quiet_s = 0.0
        """Time for which queries have had no answer."""
        self._asking: ChipClock | None = None
        """The clock that is queried."""

    def start(self, clock: ChipClock) -> None:
        """Query a clock from now on."""
        self._asking, self._quiet_s = clock, 0.0
        self._query_later(clock, 0, min(_FIRST_PAUSE_S, self._pause_s))

    def close(self) -> None:
        """Query no more."""
        self._asking = None
        query, self._next = self._next, None
        if query is not None:
            query.cancel()

    def _query_later(self, clock: ChipClock, count: int, pause_s: float) -> None:
        """Query the clock after a pause, and then again; `count` queries were sent so far."""
        time_ns = self._waiting.now_ns() + round(pause_s * 1e9)
        self._next = self._waiting.at(time_ns, lambda: self._query(clock, count, pause_s))

    def _query(self, clock: ChipClock, count: int, pause_s: float) -> None:
        if clock is not self._asking:
            return  # closed, or started anew
        if count > FIRST_EXCHANGES:
            pause_s = min(pause_s * _PAUSE_GROWS, self._pause_s)
        self._on_query()
        if count:
            self._on_exchange(clock)  # its answer has arrived meanwhile
        # The pauses between queries and not the time: this process may have been stopped.
        self._quiet_s = self._quiet_s + pause_s if clock.unanswered else 0.0
        if clock.unanswered >= _LEAST_UNANSWERED and self._quiet_s >= _SILENCE_S:
            self._on_silence(
                DeviceError(
                    f"the board answered none of the last {clock.unanswered} queries, for"
                    f" {_SILENCE_S:g} s",
                    remedy="Check its power supply and its cable; press its reset button. Edges"
                    " that come faster than 20,000 per second leave it no time to answer: check"
                    " its inputs.",
                )
            )
            return
        try:
            self._send(clock.query(self._waiting.now_ns()))
        except DeviceError:
            return  # the board is lost: its session reports that
        self._query_later(clock, count + 1, pause_s)
