"""Converts ticks of the chip's clock to CLOCK_MONOTONIC, with a standard error.

Two-way exchanges as in NTP (RFC 5905, section 8): the host records when it sent the query and when
the answer arrived, the chip when the query arrived and when it sent the answer. The time of the
bytes on the wire is known and subtracted. A Kalman filter estimates offset and rate; the longer an
exchange took, compared with the shortest, the less it weighs. The error of an exchange is at most
half of its duration, so a prediction that differs by more is certainly wrong. Adapters hold bytes
back one way only: `bounds.py` keeps the estimate where it can be, and gives its largest error.

Sans-IO. Host times are ns of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Final

import msgspec

from mlink.sync.kalman import OffsetRateFilter
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.bounds import OffsetBounds
from mlink_drivers.firmata.chip.messages import TICK_BITS, ClockAnswer
from mlink_drivers.firmata.chip.window import ImpossibleMessageError

RATE_PRIOR_PPM: Final = 3000.0
"""Standard deviation of the rate before the first exchange (ceramic resonators: up to 0.5 %)."""
_WRAP: Final = 1 << TICK_BITS
_LEAST_NOISE: Final = 4.0
"""Variance of an exchange in µs²: timestamps and UART of the chip are accurate to some µs."""
_INEXACT_NOISE: Final = 50.0**2
"""Added variance in µs² where the chip took the time in its loop, not in an interrupt."""
_SHORTEST_GROWS: Final = 1.001
"""Growth of the shortest duration per exchange: a path may become slower for good."""
_SPREAD: Final = 1 / 6
"""Share of the shortest duration by which its two ways may differ from exchange to exchange."""
_SURE_USEC: Final = 20.0
"""Error of timestamps beyond half of an exchange's duration; 100 µs more where inexact."""
_TICKS_USEC: Final = 2.0
"""Error of timestamps and of the baud rate, which half of an exchange's duration does not have."""
_AHEAD: Final = 1.5
"""Time for which an estimate is used, in intervals of exchanges; the duration of one besides."""
_FIRST: Final = 8
"""Exchanges during which the shortest duration is not known yet."""
_MOST_PENDING: Final = 100
"""Queries of which an answer may still come: a number has 7 bits."""
_STAYS: Final = 9
"""Exchanges of which the usual time between a query and its answer in the chip is taken."""


class _Map(msgspec.Struct, frozen=True):
    """A linear map from ticks to host time; replaced as a whole, so that any thread may read it."""

    ticks: int
    host_ns: int
    usec_per_tick: float
    """µs of host time per tick."""


class ClockPair(msgspec.Struct, frozen=True):
    """The same moment on both clocks; `device_usec` counts from the chip's tick 0."""

    device_usec: int
    host_ns: int


class ChipClock:
    """Estimates the chip's clock from exchanges and converts its times.

    Any thread may convert. `query` and `take` are called in one thread each.

    Args:
        tick_hz: Ticks per second of the chip's clock.
        byte_ns: Time of one byte on the wire.
        query_bytes: Bytes of a query on the wire.
        checked: Whether answers have a check value; else a bit of their times may have changed.
    """

    def __init__(
        self, tick_hz: int, byte_ns: int, query_bytes: int = 4, *, checked: bool = True
    ) -> None:
        self.exchanges = 0
        self.unanswered = 0
        """Queries since the last answer."""
        self.shortest_usec = math.inf
        """Duration of the fastest exchange without its bytes: host, driver, adapter, firmware."""
        self._tick_usec = 1e6 / tick_hz
        self._query_ns = query_bytes * byte_ns
        self._checked = checked
        self._stays: deque[int] = deque(maxlen=_STAYS)
        self._covered_ns = 0
        self._number = 0
        self._pending: dict[int, int] = {}
        self._filter: OffsetRateFilter | None = None
        self._bounds = OffsetBounds()
        self._error_usec = 0.0
        self._mistake_usec = 0.0
        self._zero_ticks = 0
        self._zero_ns = 0
        self._at_usec = 0.0
        self._latest = 0
        """When the last answer was sent, in ticks that do not wrap."""
        self._map: _Map | None = None

    @property
    def is_set(self) -> bool:
        """Whether times can be converted."""
        return self._map is not None

    @property
    def pair(self) -> ClockPair | None:
        """Both times of the last exchange; None before the first."""
        line = self._map
        if line is None:
            return None
        return ClockPair(round(line.ticks * self._tick_usec), line.host_ns)

    @property
    def covered_ns(self) -> int:
        """Host time until which `uncertainty_usec` holds; 0 before the first exchange."""
        return self._covered_ns

    @property
    def rate_ppm(self) -> float:
        """Rate of the chip's clock against the host's; positive when the chip's is faster."""
        return self._filter.rate if self._filter is not None else 0.0

    @property
    def uncertainty_usec(self) -> int:
        """Largest error of a converted time in µs; −1 before the first exchange."""
        return math.ceil(self._error_usec) if self._filter is not None else -1

    def take_mistake_usec(self) -> int:
        """Return the largest error of converted times since the last call that was not stated.

        It shows at the next exchange, where the chip's clock stood still, was set or changed its
        rate; 0 where all was stated.
        """
        mistake, self._mistake_usec = self._mistake_usec, 0.0
        return math.ceil(mistake)

    def query(self, now_ns: int) -> bytes:
        """Return a query to send at once; `now_ns` is the present time."""
        self._number = (self._number + 1) & 0x7F
        if len(self._pending) >= _MOST_PENDING:
            del self._pending[next(iter(self._pending))]  # the oldest
        self._pending[self._number] = now_ns
        self.unanswered += 1
        return chip_encode.clock_query(self._number)

    def take(self, answer: ClockAnswer, arrival_ns: int) -> None:
        """Learn from an answer.

        Args:
            answer: The chip's answer to a query.
            arrival_ns: When the first byte of the answer began on the wire.

        Raises:
            ImpossibleMessageError: It belongs to no query, or it was sent before the query
                arrived, or later than it arrived itself.
        """
        asked_ns = self._pending.pop(answer.id, None)
        if asked_ns is None:
            raise ImpossibleMessageError("an answer of the clock to no query")
        self.unanswered = 0
        question_ns = asked_ns + self._query_ns
        # Negative durations are very long ones in this arithmetic, and so impossible, too.
        stay = (answer.sent_ticks - answer.received_ticks) % _WRAP
        took_usec = (arrival_ns - question_ns) / 1000 - stay * self._tick_usec
        if took_usec < -_LEAST_NOISE * 25:
            raise ImpossibleMessageError("an answer of the clock with impossible times")
        received = self._latest + distance(self._latest, answer.received_ticks)
        sent = self._latest = received + stay
        took_usec = max(took_usec, 0.0)
        self.shortest_usec = min(self.shortest_usec * _SHORTEST_GROWS, took_usec)
        excess = took_usec - self.shortest_usec
        if self.exchanges < _FIRST:
            excess = took_usec  # the shortest duration is not known yet
        spread = self.shortest_usec * _SPREAD
        noise = _LEAST_NOISE + excess * excess / 4 + spread * spread
        bound = took_usec / 2 + _SURE_USEC
        changed = 0.0
        if not self._checked:
            # A bit that changed in one of its times moves that time by what this stay is unusual.
            self._stays.append(stay)
            changed = abs(stay - statistics.median(self._stays)) * self._tick_usec
            noise += changed * changed
            bound += changed
        if not answer.exact:
            noise += _INEXACT_NOISE
            bound += 2 * math.sqrt(_INEXACT_NOISE)
        self._learn((received + sent) / 2, (question_ns + arrival_ns) / 2, noise, bound)

    def to_monotonic_ns(self, ticks: int, near_ns: int = 0) -> int:
        """Convert a 32-bit time of the chip to ns of CLOCK_MONOTONIC; only when `is_set`.

        Args:
            ticks: The chip's time.
            near_ns: The time that it is nearest to, within ±17.9 minutes (2³¹ ticks at 2 MHz); 0
                is the last exchange.
        """
        line = self._map
        assert line is not None
        since = distance(line.ticks, ticks)
        if near_ns:
            near = (near_ns - line.host_ns) / line.usec_per_tick / 1000
            since += round((near - since) / _WRAP) * _WRAP
        return line.host_ns + round(since * line.usec_per_tick * 1000)

    def to_ticks(self, monotonic_ns: int) -> int:
        """Convert ns of CLOCK_MONOTONIC to a 32-bit time of the chip; only when `is_set`."""
        line = self._map
        assert line is not None
        return (line.ticks + round((monotonic_ns - line.host_ns) / line.usec_per_tick / 1000)) % (
            _WRAP
        )

    def _learn(self, ticks: float, host_ns: float, noise: float, bound: float) -> None:
        if self._filter is None:
            self._zero_ticks, self._zero_ns = round(ticks), round(host_ns)
            self._at_usec = 0.0
            self._filter = OffsetRateFilter(0.0, noise, RATE_PRIOR_PPM, 0.0)
            self._bounds = OffsetBounds()
        state = self._filter
        device_usec = (ticks - self._zero_ticks) * self._tick_usec
        host_usec = (host_ns - self._zero_ns) / 1000
        since_s = (host_usec - self._at_usec) / 1e6
        if since_s > 0:
            state.predict(since_s)
            self._bounds.predict(since_s)
            self._at_usec = host_usec
        innovation = device_usec - host_usec - state.offset
        beyond = abs(innovation) - bound
        if beyond > 0 and since_s > 0:
            if self.exchanges >= _FIRST:
                self._mistake_usec = max(self._mistake_usec, abs(innovation))
            if beyond > RATE_PRIOR_PPM * since_s:
                state.move_to(state.offset + innovation, noise)  # too large for a rate: a step
                innovation = 0.0
            else:
                state.offset_variance += beyond * beyond
                state.rate_variance = max(state.rate_variance, (beyond / since_s) ** 2)
        state.update(innovation, noise)
        half = max(bound - _SURE_USEC, 0.0) + _TICKS_USEC
        self._bounds.narrow(self._at_usec / 1e6, device_usec - host_usec, half)
        self._bounds.confine(state)
        ahead_s = _AHEAD * max(since_s, 0.0) + 2 * half / 1e6
        self._error_usec = self._bounds.error_of(state, ahead_s)
        self._covered_ns = self._zero_ns + round(self._at_usec * 1000 + ahead_s * 1e9)
        self.exchanges += 1
        self._draw_line()

    def _draw_line(self) -> None:
        """Make the map of the filter's state: device = host + offset + rate · (host − then)."""
        state = self._filter
        assert state is not None
        device_usec = self._at_usec + state.offset
        self._map = _Map(
            ticks=self._zero_ticks + round(device_usec / self._tick_usec),
            host_ns=self._zero_ns + round(self._at_usec * 1000),
            usec_per_tick=self._tick_usec / (1 + state.rate * 1e-6),
        )


def distance(ticks: int, other: int) -> int:
    """Return the ticks from one time to another, which may be 32-bit times; half of 2³² at most."""
    return (other - ticks + _WRAP // 2) % _WRAP - _WRAP // 2
