"""Encodes orders to the chip and keeps those that a restarted board has to receive again.

Values only. Durations are in µs; one that does not fit into its field raises ValueError.
"""

from __future__ import annotations

import math

import msgspec

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.extra import (
    Count,
    Move,
    PulseTrain,
    Reflex,
    SafeState,
    Stepper,
    StepperDriver,
)


class SetStepper(msgspec.Struct):
    """A stepper that was set, and where it was at the last report."""

    order: Stepper
    position: int
    moves: bool = False
    target: int = 0
    """Target of the last order to move, whose reports have this tag."""
    tag: int = 0


class ChipOrders:
    """The orders in effect: reported edges, reflexes, endless trains, steppers, the safe state."""

    def __init__(self) -> None:
        self.watched: dict[int, Edges] = {}
        self.once_watched: set[int] = set()
        """With those of which edges may still be on their way."""
        self.reflexes: dict[int, tuple[int, Reflex]] = {}
        """Index → (trigger line, reflex)."""
        self.counters: dict[int, tuple[int, Count, int]] = {}
        """Index → (line, order, tag of its reports)."""
        self.steppers: dict[int, SetStepper] = {}
        self._tag = 0
        self._trains: dict[int, PulseTrain] = {}
        self._safe: SafeState | None = None

    def watch(self, line: int, kind: Edges) -> bytes:
        """Select the edges of a line that are reported.

        NONE ends the reports. `replay` leaves these orders out: they are sent again with the modes
        of the lines.
        """
        if kind:
            self.watched[line] = kind
            self.once_watched.add(line)
        else:
            self.watched.pop(line, None)
        return chip_encode.watch_edges({line: kind})

    def train(self, line: int, order: PulseTrain, tick_hz: int, start: int | None) -> bytes:
        """Start a train of pulses.

        Args:
            line: The output.
            order: The train.
            tick_hz: Ticks per second of the chip's clock.
            start: The chip's time of the first edge; None for now.
        """
        width = _ticks(order.width_usec, tick_hz)
        message = chip_encode.train(
            line,
            width,
            _ticks(order.period_usec, tick_hz) - width,
            order.count,
            start=start,
            active_low=order.active_low,
            report=True,
        )
        self.forget_train(line)
        if not order.count:
            self._trains[line] = order
        return message

    def forget_train(self, line: int) -> None:
        """Forget the train or the stepper of a line: another command has ended it.

        Only endless trains are kept, so only those are affected.
        """
        self._trains.pop(line, None)
        for index, known in list(self.steppers.items()):
            if line in known.order.lines:
                del self.steppers[index]

    def forget_motion(self) -> None:
        """Forget trains, reflexes and steppers: the board has ended and removed them."""
        self._trains.clear()
        self.reflexes.clear()
        self.steppers.clear()

    def reflex(self, line: int, order: Reflex, tick_hz: int) -> bytes:
        """Set a reflex that the edges of a line trigger.

        An earlier reflex of the same index is replaced.
        """
        message = chip_encode.set_reflex(
            order.index,
            line,
            order.kind,
            order.output,
            order.action,
            width=_ticks(order.width_usec, tick_hz),
            refractory=_ticks(order.refractory_usec, tick_hz),
            condition=order.condition,
        )
        self.reflexes[order.index] = line, order
        return message

    def remove_reflex(self, index: int) -> bytes:
        """Remove a reflex."""
        self.reflexes.pop(index, None)
        return chip_encode.remove_reflex(index)

    def count(self, line: int, order: Count) -> bytes:
        """Set a counter; each order has a tag of its own."""
        self._tag = (self._tag + 1) % 128
        message = chip_encode.set_counter(
            order.index,
            line,
            order.kind,
            order.period_msec,
            second_pin=order.second_line,
            tag=self._tag,
        )
        self.counters[order.index] = line, order, self._tag
        return message

    def stop_counter(self, index: int) -> bytes:
        """Remove a counter."""
        self.counters.pop(index, None)
        return chip_encode.set_counter(index, 0, Edges.NONE, 0)

    def stepper(self, order: Stepper, position: int, tick_hz: int) -> bytes:
        """Set a stepper, which is at a position."""
        driver = StepperDriver.FOUR_WIRES if len(order.lines) == 4 else StepperDriver.STEP_DIRECTION
        message = chip_encode.set_stepper(
            order.index,
            driver,
            order.lines,
            first=round(math.sqrt(2 / order.acceleration) * tick_hz * _PARTS),
            limits=order.limits,
            flags=order.flags,
            position=position,
            period_msec=order.period_msec,
        )
        for line in order.lines:
            self.forget_train(line)
        self.steppers[order.index] = SetStepper(order, position)
        return message

    def move(self, order: Move, tick_hz: int) -> bytes:
        """Move a stepper that was set; each order has a tag of its own."""
        self._tag = (self._tag + 1) % 128
        known = self.steppers[order.index]
        known.moves, known.target, known.tag = True, order.position, self._tag
        fastest = round(tick_hz * _PARTS / order.speed)
        return chip_encode.move_stepper(order.index, order.position, fastest, tag=self._tag)

    def stop_steppers(self) -> bytes:
        """Stop those that move."""
        moving = [index for index, known in self.steppers.items() if known.moves]
        return b"".join(chip_encode.stop_stepper(index) for index in moving)

    def safe_state(self, order: SafeState) -> bytes:
        """Set the levels of outputs after a silence of the host.

        A timeout of 0 switches it off.
        """
        self._safe = order if order.timeout_msec else None
        return chip_encode.safe_state(order.timeout_msec, order.levels)

    def replay(self, tick_hz: int, *, trains: bool = True) -> bytes:
        """Return the orders that restore a restarted board, but for the reported edges.

        Args:
            tick_hz: Ticks per second of the chip's clock.
            trains: Whether endless trains are started again; else they are forgotten.
        """
        parts = [self.reflex(line, order, tick_hz) for line, order in self.reflexes.values()]
        parts += [self.count(line, order) for line, order, _ in list(self.counters.values())]
        for known in list(self.steppers.values()):
            parts.append(self.stepper(known.order, known.position, tick_hz))
        if trains:
            parts += [self.train(line, t, tick_hz, None) for line, t in list(self._trains.items())]
        else:
            self._trains.clear()
        if self._safe is not None:
            parts.append(self.safe_state(self._safe))
        return b"".join(parts)


_PARTS = 256
"""Intervals of steppers are in these parts of a tick."""


def _ticks(usec: int, tick_hz: int) -> int:
    return usec * tick_hz // 1_000_000
