"""Orders to the chip as bytes, and the memory of those that a board that is back must get again.

Values only. Times are µs of the host side; ValueError when a message cannot hold one.
"""

from __future__ import annotations

from mlink.reflexes import Edges
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.extra import PulseTrain, Reflex, SafeState


class ChipOrders:
    """What the chip was told that it keeps doing: watched lines, reflexes, endless trains."""

    def __init__(self) -> None:
        self.watched: dict[int, Edges] = {}
        self.reflexes: dict[int, tuple[int, Reflex]] = {}
        """By index, with the line that triggers it."""
        self._trains: dict[int, PulseTrain] = {}
        self._safe: SafeState | None = None

    def watch(self, line: int, kind: Edges) -> bytes:
        """Have a line's edges told, or no more told."""
        if kind:
            self.watched[line] = kind
        else:
            self.watched.pop(line, None)
        return chip_encode.watch_edges({line: kind})

    def train(self, line: int, order: PulseTrain, tick_hz: int, start: int | None) -> bytes:
        """Make a train of pulses; `start` is a time of the chip."""
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
        """A line was told something else."""
        self._trains.pop(line, None)

    def forget_motion(self) -> None:
        """The board ended its trains and removed its reflexes by itself."""
        self._trains.clear()
        self.reflexes.clear()

    def reflex(self, line: int, order: Reflex, tick_hz: int) -> bytes:
        """Set a reflex on a line's edges."""
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

    def safe_state(self, order: SafeState) -> bytes:
        """Set what the outputs become after a silence of the host."""
        self._safe = order if order.timeout_msec else None
        return chip_encode.safe_state(order.timeout_msec, order.levels)

    def replay(self, tick_hz: int, *, trains: bool = True) -> bytes:
        """Return what a board that forgot all must be told, but for the watched lines."""
        parts = [self.reflex(line, order, tick_hz) for line, order in self.reflexes.values()]
        if trains:
            parts += [self.train(line, t, tick_hz, None) for line, t in list(self._trains.items())]
        else:
            self._trains.clear()
        if self._safe is not None:
            parts.append(self.safe_state(self._safe))
        return b"".join(parts)


def _ticks(usec: int, tick_hz: int) -> int:
    return usec * tick_hz // 1_000_000
