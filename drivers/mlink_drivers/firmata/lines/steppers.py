"""Rows of the table `steppers`, from the reports of the chip."""

from __future__ import annotations

from typing import Final

from mlink_drivers.firmata.chip.messages import StepperHow, StepperReport
from mlink_drivers.firmata.chip.orders import ChipOrders
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.lines.rows import Rows

_EVENTS: Final = {
    StepperHow.MOVING: "moving",
    StepperHow.ARRIVED: "moved",
    StepperHow.STOPPED: "stopped",
    StepperHow.LOW_LIMIT: "limit-low",
    StepperHow.HIGH_LIMIT: "limit-high",
    StepperHow.ENDED: "ended",
}
_PARTS: Final = 256
_SLACK_NS: Final = 1_000_000
"""By which two conversions of one time of the chip may differ."""


class Steppers:
    """Converts reports to rows; called in the reader's thread.

    Args:
        chip: The session with the chip.
        orders: Has the steppers that were set.
        rows: The table; None without one.
    """

    def __init__(self, chip: ChipSession, orders: ChipOrders, rows: Rows | None) -> None:
        self._chip = chip
        self._orders = orders
        self._rows = rows
        self._before: dict[int, tuple[int, int]] = {}
        """Number and time of the last report."""

    def take(self, report: StepperReport) -> None:
        """Add a row for a report, and leave a gap for those that the line has lost."""
        rows, features = self._rows, self._chip.features
        if rows is None or features is None or not self._chip.keeps_time:
            return
        before = self._before.get(report.index)
        # A slow motor's last step may be long ago, but not before that of the report before.
        step_ns = self._chip.time_ns(report.ticks, before[1] - _SLACK_NS if before else 0)
        self._before[report.index] = report.sequence, step_ns
        if before is not None:
            for _ in range((report.sequence - before[0] - 1) % 128):
                rows.lose()
        known = self._orders.steppers.get(report.index)
        target: int | str = ""
        if known is not None:
            known.position = report.position
            if known.tag == report.tag:
                known.moves = report.how is StepperHow.MOVING
                target = known.target
        speed = features.tick_hz * _PARTS / report.interval if report.interval else 0.0
        rows.add(
            rows.time_usec(step_ns),
            report.index,
            _EVENTS[report.how],
            report.position,
            target,
            f"{speed:.6g}",
            self._chip.uncertainty_usec,
        )

    def on_restarted(self) -> None:
        """Add a row for each that was moving when the board was lost: it is not known how far."""
        self._before.clear()
        for index, known in self._orders.steppers.items():
            if known.moves and self._rows is not None:
                now = self._rows.now_usec()
                self._rows.add(now, index, "lost", known.position, known.target, "", "")
