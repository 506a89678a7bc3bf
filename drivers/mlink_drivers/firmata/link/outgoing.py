"""Bytes to a board: sealed, limited to the rate that it can take, one writer at a time.

In real time a thread that writes waits for room on the board. In virtual time no call of the kernel
waits: parts are sent at later moments, and the line has a rate.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from mlink.waiting import Registration, Waiting
from mlink_drivers.firmata.link.pace import Pace
from mlink_drivers.firmata.link.transport import DeviceLostError, Transport
from mlink_drivers.firmata.wire.arrival import wire_time_ns

_LINE_BYTES: Final = 400
"""In virtual time: bytes that are on their way to a board, at most."""
_SENT_S: Final = 20.0
"""In virtual time: longest wait for what was written to be sent."""


class Outgoing:
    """Writes to the line of one session, from any thread.

    Args:
        waiting: Gives the time, and makes the calls that send later.
        on_lost: Called when a later part cannot be sent.
    """

    def __init__(self, waiting: Waiting, on_lost: Callable[[DeviceLostError], None]) -> None:
        self.lock = threading.Lock()
        """Held for each write; also to change the line's rate, or to close it."""
        self.pace: Pace | None = None
        """Limits the rate of sending, where the line is faster than the board."""
        self.seal: Callable[[bytes], bytes] | None = None
        """Adds to messages what the board expects, such as check values."""
        self.bytes_out = 0
        """Bytes written so far."""
        self.sent_ns = 0
        """When all that was written will have left, at the line's baud rate at the earliest."""
        self._waiting = waiting
        self._on_lost = on_lost
        self._unsent: deque[tuple[bytes, Registration]] = deque()
        """Parts that are sent at later moments; in virtual time only."""
        self._line: tuple[int, Pace] | None = None
        """Baud rate and limit of the line in virtual time."""
        self._hurried = False

    def reset(self) -> None:
        """Begin with a new connection: without a limit and without check values."""
        self.pace = self.seal = None
        self._hurried = False

    def write(self, transport: Transport, data: bytes) -> None:
        """Write encoded messages.

        Raises:
            DeviceLostError: The write failed.
        """
        now_ns = self._waiting.now_ns
        with self.lock:
            if self.seal is not None and (b"\xf0" in data or b"\xff" in data):
                data = self.seal(data)  # of the usual short messages none has a check value
            rate = transport.baud_rate
            pace = self.pace or self._line_pace(rate)
            if pace is None or (not self._unsent and pace.at_once(data, now_ns())):
                transport.write(data)
            else:
                for part in pace.split(data):
                    self._write_in_time(transport, part, pace)
            if rate > 0:
                self.sent_ns = max(now_ns(), self.sent_ns) + wire_time_ns(len(data), rate)
            self.bytes_out += len(data)

    def _write_in_time(self, transport: Transport, part: bytes, pace: Pace) -> None:
        """Wait until the board has room, then send; in virtual time a later call sends."""
        now_ns = self._waiting.now_ns()
        time_ns = pace.send_at(part, now_ns)
        if self._waiting.is_virtual and (self._unsent or time_ns > now_ns):
            call = self._waiting.at(time_ns, lambda: self._send_next(transport))
            self._unsent.append((part, call))
            return
        if time_ns > now_ns:
            time.sleep((time_ns - now_ns) / 1e9)
        transport.write(part)

    def _line_pace(self, rate: int) -> Pace | None:
        """Return what limits the bytes on a line in virtual time: no call of the kernel waits."""
        if not self._waiting.is_virtual or self._hurried or rate <= 0:
            return None
        if self._line is None or self._line[0] != rate:
            self._line = rate, Pace(_LINE_BYTES, 1e6 / wire_time_ns(1, rate))
        return self._line[1]

    def _send_next(self, transport: Transport) -> None:
        """Send the next part, whose moment has come."""
        try:
            transport.write(self._unsent.popleft()[0])
        except DeviceLostError as error:
            self._on_lost(error)

    def await_sent(self) -> None:
        """Wait in virtual time until what was written has been sent; writes wait in real time."""
        if self._waiting.is_virtual:
            self._waiting.until(lambda: not self._unsent, _SENT_S)

    def hurry(self, transport: Transport) -> None:
        """At the end of a run in virtual time no time passes: send the rest without a limit.

        Raises:
            DeviceLostError: A write failed.
        """
        if self._waiting.is_virtual:
            self.pace, self._hurried = None, True
            while self._unsent:
                part, call = self._unsent.popleft()
                call.cancel()
                transport.write(part)

    def forget(self) -> None:
        """Send no later part; the caller has the lock."""
        while self._unsent:
            self._unsent.popleft()[1].cancel()
