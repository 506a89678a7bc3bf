"""Distributions of durations in bounded memory: how late something was, how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

LATE_NS = 1_000_000
"""Delay from which something counts as late."""
TOLERANCE_NS = 2_000_000
"""Deviation of an interval that is always allowed."""
_TOLERANCE_PART = 20
_BITS = 6
"""Leading bits of a delay that are kept: quantiles are at most 3 % too low."""
_WARN_PAUSE_NS = 1_000_000_000


def times_in_words(figures: Mapping[str, float | str], name: str) -> str:
    """Return figures of a distribution as words: "median 1.07 ms, 99 % within 2.6 ms".

    Args:
        figures: Figures of a module, among them `{name}_p50_usec` and `{name}_p99_usec`.
        name: What the times are of; without both figures the answer is "".
    """
    p50, p99 = (figures.get(f"{name}_{part}_usec") for part in ("p50", "p99"))
    if isinstance(p50, str) or isinstance(p99, str) or p50 is None or p99 is None:
        return ""
    return f"median {_in_unit(p50)}, 99 % within {_in_unit(p99)}"


def _in_unit(usec: float) -> str:
    """Return a time with three digits and the unit that people read: "893 µs", "2.12 ms"."""
    for factor, unit in ((1, "µs"), (1000, "ms")):
        if abs(usec) < 999.5 * factor:
            return f"{usec / factor:.3g} {unit}"
    return f"{usec / 1e6:.3g} s" if abs(usec) < 999.5e6 else f"{usec / 1e6:.0f} s"


class Distribution:
    """The distribution of durations; `note` belongs to one thread."""

    def __init__(self) -> None:
        self.max_ns = 0
        self.counts: dict[int, int] = {}
        """Duration in µs, rounded down to its leading bits → how many."""

    def note(self, duration_ns: int) -> None:
        """Add a duration; a negative one, by the uncertainty of a clock, counts as none."""
        if duration_ns > self.max_ns:
            self.max_ns = duration_ns
        usec = duration_ns // 1000 if duration_ns > 0 else 0
        drop = usec.bit_length() - _BITS
        if drop > 0:
            usec = usec >> drop << drop
        self.counts[usec] = self.counts.get(usec, 0) + 1

    def add(self, other: Distribution) -> None:
        """Add all durations of another distribution."""
        self.max_ns = max(self.max_ns, other.max_ns)
        for usec, count in other.counts.items():
            self.counts[usec] = self.counts.get(usec, 0) + count

    def quantile_usec(self, part: float) -> int:
        """Return the duration in µs that this part of all did not exceed; 0 without any."""
        counts = sorted(self.counts.items())
        left = part * sum(count for _, count in counts)
        for usec, count in counts:
            left -= count
            if left <= 0:
                return usec
        return 0


class Lateness(Distribution):
    """The distribution of delays."""

    def __init__(self) -> None:
        super().__init__()
        self.late = 0
        """How many were more than LATE_NS late."""

    def note(self, duration_ns: int) -> None:
        """Add a delay; a negative one, by the uncertainty of a clock, counts as none."""
        Distribution.note(self, duration_ns)
        if duration_ns > LATE_NS:
            self.late += 1

    def figures(self, name: str) -> dict[str, float]:
        """Return the figures for a run's summary; none when nothing was noted.

        Args:
            name: What was late, such as "command".
        """
        if not self.counts:
            return {}
        return {
            f"{name}_late_p50_usec": self.quantile_usec(0.5),
            f"{name}_late_p99_usec": self.quantile_usec(0.99),
            f"{name}_late_max_usec": self.max_ns // 1000,
            f"{name}s_late": self.late,
        }


class Intervals:
    """Counts the intervals that were not kept, and warns of them at most once a second.

    Args:
        warn: Called with a warning.
        now_ns: Returns the present time, ns; virtual in virtual time, so that two runs warn alike.
    """

    def __init__(
        self, warn: Callable[[str], None], now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.missed = 0
        """How many were not kept: off by more than 2 ms, and by more than a twentieth."""
        self._warn = warn
        self._now_ns = now_ns
        self._warn_at_ns = 0

    def check(self, asked_ns: int, off_ns: int, text: str) -> None:
        """Compare an interval with the one that was asked for.

        Args:
            asked_ns: Its length, as asked for.
            off_ns: By how much it was longer; negative if it was shorter.
            text: The warning; {asked} and {made} stand for both lengths.
        """
        off = abs(off_ns)
        if off <= TOLERANCE_NS or off * _TOLERANCE_PART <= asked_ns:
            return
        self.missed += 1
        now_ns = self._now_ns()
        if now_ns >= self._warn_at_ns:
            self._warn_at_ns = now_ns + _WARN_PAUSE_NS
            text = text.format(asked=_msec(asked_ns), made=_msec(asked_ns + off_ns))
            self._warn(f"{text} ({self.missed} interval(s) not kept so far)")


def _msec(ns: int) -> str:
    return f"{ns / 1e6:.1f} ms"
