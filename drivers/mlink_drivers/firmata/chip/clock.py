"""The board's own clock on the host's: ticks of the chip to CLOCK_MONOTONIC, and how sure that is.

Two-way exchanges as NTP's (RFC 5905, section 8): the host notes when it asked, the chip when the
question came and the answer left, the host when the answer came. Bytes on the wire are no unknown:
their time is taken off. A Kalman filter of offset and rate weighs each exchange by how much longer
than the shortest it took. No exchange can be off by more than half of what it took, so a prediction
beyond that is wrong for certain. Sans-IO; times of the host are ns of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from mlink.sync.kalman import OffsetRateFilter
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import TICK_BITS, ClockAnswer

RATE_PRIOR_PPM: Final = 3000.0
"""Boards with a ceramic resonator are off by up to 0.5 %."""
_QUERY_BYTES: Final = 4
_WRAP: Final = 1 << TICK_BITS
_LEAST_NOISE: Final = 4.0
"""µs²: the chip's stamps and its UART are good to some µs."""
_INEXACT_NOISE: Final = 50.0**2
"""µs² more where the chip stamped in its loop and not in an interrupt."""
_SHORTEST_GROWS: Final = 1.001
"""The shortest exchange is forgotten slowly: a path may become slower for good."""
_SPREAD: Final = 1 / 6
"""How differently two exchanges of the shortest time may be split, as a share of it."""
_SURE_USEC: Final = 20.0
"""What stamps may be off beyond half of an exchange's time; 100 µs more where inexact."""
_FIRST: Final = 8
_MOST_PENDING: Final = 16


class _Map(msgspec.Struct, frozen=True):
    """A straight line from ticks to host time; replaced as a whole, so that any thread reads it."""

    ticks: int
    host_ns: int
    usec_per_tick: float
    """Of host time."""


class ClockPair(msgspec.Struct, frozen=True):
    """One moment on both clocks; the chip's in µs since it began."""

    device_usec: int
    host_ns: int


class ChipClock:
    """Learns from exchanges, then converts; `query` and `take` are called in any one thread."""

    def __init__(self, tick_hz: int, byte_ns: int) -> None:
        self.exchanges = 0
        self.unanswered = 0
        """Questions since the last answer."""
        self.shortest_usec = math.inf
        """What the fastest exchange took beside its bytes: host, driver, adapter, firmware."""
        self._tick_usec = 1e6 / tick_hz
        self._byte_ns = byte_ns
        self._number = 0
        self._pending: dict[int, int] = {}
        self._filter: OffsetRateFilter | None = None
        self._zero_ticks = 0
        self._zero_ns = 0
        self._at_usec = 0.0
        self._latest = 0
        self._map: _Map | None = None

    @property
    def is_set(self) -> bool:
        """Whether times can be converted."""
        return self._map is not None

    @property
    def pair(self) -> ClockPair | None:
        """The moment of the last exchange; None before the first."""
        line = self._map
        if line is None:
            return None
        return ClockPair(round(line.ticks * self._tick_usec), line.host_ns)

    @property
    def rate_ppm(self) -> float:
        """How much faster than the host's clock the chip's runs."""
        return self._filter.rate if self._filter is not None else 0.0

    @property
    def uncertainty_usec(self) -> int:
        """Standard error of a converted time in µs; −1 before the first exchange.

        The two ways of the shortest exchange may differ in an unknown way: a uniform error.
        """
        if self._filter is None:
            return -1
        asymmetry = self.shortest_usec**2 / 12
        return math.ceil(math.sqrt(max(self._filter.offset_variance, 0.0) + asymmetry))

    def query(self, now_ns: int) -> bytes:
        """Return what to send at once; `now_ns` is the time just before."""
        self._number = (self._number + 1) & 0x7F
        if len(self._pending) >= _MOST_PENDING:
            self._pending.clear()  # a board that does not answer
        self._pending[self._number] = now_ns
        self.unanswered += 1
        return chip_encode.clock_query(self._number)

    def take(self, answer: ClockAnswer, arrival_ns: int) -> bool:
        """Take an answer whose first byte began at `arrival_ns`; False when it is of no use."""
        asked_ns = self._pending.pop(answer.id, None)
        if asked_ns is None:
            return False
        self.unanswered = 0
        question_ns = asked_ns + _QUERY_BYTES * self._byte_ns
        received, sent = self.unwrap(answer.received_ticks), self.unwrap(answer.sent_ticks)
        took_usec = (arrival_ns - question_ns) / 1000 - (sent - received) * self._tick_usec
        if took_usec < -_LEAST_NOISE * 25:
            return False  # stamps that cannot be: of another exchange, or a bent clock
        took_usec = max(took_usec, 0.0)
        self.shortest_usec = min(self.shortest_usec * _SHORTEST_GROWS, took_usec)
        excess = took_usec - self.shortest_usec
        if self.exchanges < _FIRST:
            excess = took_usec  # what is short here is not known yet
        spread = self.shortest_usec * _SPREAD
        noise = _LEAST_NOISE + excess * excess / 4 + spread * spread
        bound = took_usec / 2 + _SURE_USEC
        if not answer.exact:
            noise += _INEXACT_NOISE
            bound += 2 * math.sqrt(_INEXACT_NOISE)
        self._learn((received + sent) / 2, (question_ns + arrival_ns) / 2, noise, bound)
        return True

    def unwrap(self, ticks: int) -> int:
        """Extend a time of 32 bits to one that does not wrap; right within 17.9 minutes."""
        distance = (ticks - self._latest) % _WRAP
        if distance >= _WRAP // 2:
            distance -= _WRAP
        extended = self._latest + distance
        self._latest = max(self._latest, extended)
        return extended

    def to_monotonic_ns(self, ticks: int) -> int:
        """Convert a chip's time (32 bits) to ns of CLOCK_MONOTONIC; only when `is_set`."""
        line = self._map
        assert line is not None
        return line.host_ns + round((self.unwrap(ticks) - line.ticks) * line.usec_per_tick * 1000)

    def to_ticks(self, monotonic_ns: int) -> int:
        """Convert ns of CLOCK_MONOTONIC to the chip's time (32 bits); only when `is_set`."""
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
        state = self._filter
        device_usec = (ticks - self._zero_ticks) * self._tick_usec
        host_usec = (host_ns - self._zero_ns) / 1000
        since_s = (host_usec - self._at_usec) / 1e6
        if since_s > 0:
            state.predict(since_s)
            self._at_usec = host_usec
        innovation = device_usec - host_usec - state.offset
        beyond = abs(innovation) - bound
        if beyond > 0 and since_s > 0:
            if beyond > RATE_PRIOR_PPM * since_s:
                state.move_to(state.offset + innovation, noise)  # no rate explains it: a step
                innovation = 0.0
            else:
                state.offset_variance += beyond * beyond
                state.rate_variance = max(state.rate_variance, (beyond / since_s) ** 2)
        state.update(innovation, noise)
        self.exchanges += 1
        self._draw_line()

    def _draw_line(self) -> None:
        """Make the line of the filter's state: device = host + offset + rate · (host − then)."""
        state = self._filter
        assert state is not None
        device_usec = self._at_usec + state.offset
        self._map = _Map(
            ticks=self._zero_ticks + round(device_usec / self._tick_usec),
            host_ns=self._zero_ns + round(self._at_usec * 1000),
            usec_per_tick=self._tick_usec / (1 + state.rate * 1e-6),
        )
