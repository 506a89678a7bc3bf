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
        self._sequences: dict[int, int] = {}

    def take(self, report: StepperReport) -> None:
        """Add a row for a report, and leave a gap for those that the line has lost."""
        before = self._sequences.get(report.index)
        self._sequences[report.index] = report.sequence
        rows, features = self._rows, self._chip.features
        if rows is None or features is None or not self._chip.keeps_time:
            return
        if before is not None:
            for _ in range((report.sequence - before - 1) % 128):
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
            rows.time_usec(self._chip.time_ns(report.ticks)),
            report.index,
            _EVENTS[report.how],
            report.position,
            target,
            f"{speed:.6g}",
            self._chip.uncertainty_usec,
        )

    def on_restarted(self) -> None:
        """Add a row for each that was moving when the board was lost: it is not known how far."""
        self._sequences.clear()
        for index, known in self._orders.steppers.items():
            if known.moves and self._rows is not None:
                now = self._rows.now_usec()
                self._rows.add(now, index, "lost", known.position, known.target, "", "")
