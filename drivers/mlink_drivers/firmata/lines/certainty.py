"""Compares what the chip's times turn out to be with what the stream of readings states of them.

The stream's metadata has one uncertainty, that of the start. A chip whose clock stands still, jumps
or changes its rate, and answers that come late, make times less certain than that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mlink.module import ModuleContext
from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.session import ChipSession

_LEAST_USEC: Final = 1000
"""Below this, and up to twice of what is stated, an uncertainty is no event."""
_KNOWN: Final = 8
"""Exchanges from which on times of a board that is back are used."""
_REMEDY: Final = (
    "Its clock stood still, jumped, or answered late: check its supply and whether this machine is"
    " overloaded; a simulated board needs a processor. `events` has when (clock-uncertain)."
)


class ClockCertainty:
    """Notices times that were less certain than stated, during a run.

    Args:
        context: The module's context, whose output `fmdata` states the uncertainty.
        chip: Has the clock.
        note: Called with a keyword and a text for the table of events.
    """

    def __init__(
        self, context: ModuleContext[Any], chip: ChipSession, note: Callable[[str, str], None]
    ) -> None:
        self._context = context
        self._chip = chip
        self._note = note
        self._runs = False
        self._worst_usec = self._largest_usec = 0
        """Largest error in the run, and since it was last as stated."""
        self._count = 0
        self._looked_usec = 0
        """Time of the last look, master µs."""

    def start(self) -> None:
        """Begin; what was before the start of the run does not count."""
        if (clock := self._chip.clock) is not None:
            clock.take_mistake_usec()
        self._looked_usec = self._context.clock.now_usec()
        self._runs = True

    def look(self, clock: ChipClock) -> None:
        """Judge the time since the last look by an exchange of the clock.

        Args:
            clock: The clock, which may be that of a board that is back.
        """
        since_usec, self._looked_usec = self._looked_usec, self._context.clock.now_usec()
        if not self._runs or clock.exchanges < _KNOWN:
            return
        error_usec = max(clock.take_mistake_usec(), self._chip.uncertainty_usec)
        self._worst_usec = max(self._worst_usec, error_usec)
        if error_usec <= max(_LEAST_USEC, 2 * self._stated_usec):
            if self._largest_usec:
                self._note("clock-certain", f"times were wrong by up to {self._largest_usec} µs")
            self._largest_usec = 0
            return
        if not self._largest_usec:
            detail = f"times since {since_usec} can be wrong by {error_usec} µs"
            self._note("clock-uncertain", f"{detail}, not by {self._stated_usec} as stated")
            if not self._count:
                self._context.log.warning("%s More are counted", self._text(error_usec))
            self._count += 1
        self._largest_usec = max(self._largest_usec, error_usec)

    def report(self) -> None:
        """Report the clock's rate and uncertainty for the run's summary, and a hint on errors."""
        clock, report = self._chip.clock, self._context.report
        if clock is None or not clock.is_set:
            return
        report("board_clock_ppm", round(clock.rate_ppm, 2))
        report("board_clock_uncertainty_usec", self._chip.uncertainty_usec)
        if self._count:
            report("board_clock_uncertainty_max_usec", self._worst_usec)
            report("board_clock_uncertain_times", self._count)
            self._context.hint(self._text(self._worst_usec))

    @property
    def _stated_usec(self) -> int:
        stated = self._context.outputs["fmdata"].metadata.get("uncertainty_usec")
        return stated if isinstance(stated, int) else 0

    def _text(self, error_usec: int) -> str:
        return (
            f"times of the board can be wrong by {error_usec} µs, where the stream of readings"
            f" states {self._stated_usec} µs. {_REMEDY}"
        )
