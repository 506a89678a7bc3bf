"""Trains that trigger cameras, and strobes of cameras, on lines of a board with mlink's firmware.

A train begins when all of its cameras are ready. Three single pulses come first, so far apart that
each camera's delay is known without a doubt, then the train, which begins at a time of the chip's
clock. This time and the period give the time of each edge, so the host reports where the train is
only after each exchange of the clock. Edges of strobes are reported one by one.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mlink.errors import DeviceError
from mlink.reflexes import Edges
from mlink.waiting import Registration
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.clock import distance
from mlink_drivers.firmata.chip.messages import TICK_BITS, Feature, PulseEnd
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.lines.rows import Rows
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import PinMode
from mlink_drivers.trigger import LEAD_SPACING_USEC, Answer, BoardLine, EdgeRow

_LEAD_PULSES: Final = 3
_MARGIN_NS: Final = 100_000_000
"""From a command to the edge that it orders."""
_WRAP: Final = 1 << TICK_BITS
_COUNT: Final = 1 << 21
"""The chip's count of pulses wraps at this value."""
_END_S: Final = 0.3
"""Longest wait for the report of a train's end."""
_LATE_TICKS: Final = 200
_REMEDY: Final = "Put mlink's firmware on the board: mlink flash DEVICE"


@dataclass(slots=True)
class _Train:
    """A train, from the time when its cameras are ready."""

    wish: BoardLine
    cameras: list[str] = field(default_factory=list)
    ready: set[str] = field(default_factory=set)
    period: int = 0
    """Ticks."""
    next_edge: int = 0
    """Number of the first edge of the next train."""
    lead: int = 0
    """Single pulses that are still to be made, with the one that was ordered."""
    first: tuple[int, int] | None = None
    """Number and ticks of the first edge; None while no train runs."""
    edge: int = 0
    ticks: int = 0
    """Number and ticks of the edge that was reported last."""
    timer: Registration | None = None
    ended: bool = False


class TriggerLines:
    """The trigger and strobe lines of one board.

    Messages of the board and alarms come in its thread, answers of cameras in the main thread.

    Args:
        wishes: Camera → line.
        chip: The session with the chip.
        rows: The output `triggers`.
        send: Sends encoded messages to the board.
        report: Adds a figure to the summary.
        note_loss: Reports a loss.
        log: Logger of the module.
    """

    def __init__(
        self,
        wishes: Mapping[str, BoardLine],
        chip: ChipSession,
        rows: Rows,
        send: Callable[[bytes], None],
        *,
        report: Callable[[str, float | str], None],
        note_loss: Callable[[str, str], None],
        log: logging.Logger,
    ) -> None:
        self._chip = chip
        self._rows = rows
        self._send = send
        self._report = report
        self._note_loss = note_loss
        self._log = log
        self._lock = threading.RLock()
        self._wishes = wishes
        self._trains: dict[int, _Train] = {}
        self._strobes: dict[int, BoardLine] = {}
        self._seen: dict[int, int] = {}
        """Edges of each strobe so far."""
        self._ends: dict[str, Answer] = {}
        self._stopping = False
        for camera, wish in wishes.items():
            if wish.rate_hz:
                self._trains.setdefault(wish.line, _Train(wish)).cameras.append(camera)
            else:
                self._strobes[wish.line] = wish

    def leave_out(self, camera: str) -> None:
        """Do not wait for a camera: it is not in this run."""
        with self._lock:
            train = self._trains.get(self._wishes[camera].line)
            if train is not None:
                train.cameras.remove(camera)

    def users(self) -> dict[int, str]:
        """Return what uses each line (the first of several cameras), for messages."""
        found: dict[int, str] = {}
        for camera, wish in self._wishes.items():
            kind = "trigger" if wish.rate_hz else "strobe"
            found.setdefault(wish.line, f"the {kind} of camera '{camera}'")
        return found

    def arm(self) -> None:
        """Set the lines of a board that was connected; begin trains whose cameras are ready.

        Raises:
            DeviceError: The board cannot do it.
        """
        with self._lock:
            self._check()
            for line, wish in self._strobes.items():
                kind = Edges.FALLING if wish.active_low else Edges.RISING
                self._send(
                    encode.pin_mode(line, PinMode.INPUT) + chip_encode.watch_edges({line: kind})
                )
            for train in self._trains.values():
                self._begin_when_ready(train)

    def _check(self) -> None:
        features, chip = self._chip.features, self._chip
        for line, user in self.users().items():
            if features is None or not (chip.keeps_time and chip.has(Feature.PULSES)):
                raise DeviceError(
                    f"line {line} cannot be {user}: the board's firmware has no clock",
                    remedy=_REMEDY,
                )
            lines = features.output_pins if line in self._trains else features.edge_pins
            if line not in lines:
                known = ", ".join(map(str, sorted(lines))) or "none"
                raise DeviceError(
                    f"line {line} cannot be {user}", remedy=f"Use one of the lines {known}."
                )

    def take_answer(self, camera: str, cells: list[str]) -> None:
        """Take a row of a camera: it is ready, or its counts at the end."""
        answer = Answer.read(cells)
        with self._lock:
            if answer.event == "end":
                self._ends[camera] = answer
            train = self._trains.get(self._wishes[camera].line)
            if answer.event == "ready" and train is not None:
                train.ready.add(camera)
                self._begin_when_ready(train)

    def off(self) -> None:
        """Handle a board that was lost or has ended its trains: no edges until `arm`."""
        with self._lock:
            now = self._rows.now_usec()
            for train in self._trains.values():
                self._end(train, self._chip.waiting.now_ns())
                self._row(now, train.wish.line, "off", train.next_edge)
            for line in self._strobes:
                self._row(now, line, "off", self._seen.get(line, 0))

    def lose(self) -> None:
        """Note that edges may have been lost."""
        with self._lock:
            for line in self._strobes:
                self._row(self._rows.now_usec(), line, "lost", self._seen.get(line, 0))

    def take_edge(self, line: int, level: bool, time_ns: int) -> bool:
        """Take an edge of the chip; return False when the line is none of these."""
        wish = self._strobes.get(line)
        if wish is None:
            return line in self._trains
        if level != wish.active_low:
            with self._lock:
                number = self._seen.get(line, 0)
                self._seen[line] = number + 1
                self._row(self._rows.time_usec(time_ns), line, "edge", number)
        return True

    def take_end(self, end: PulseEnd) -> bool:
        """Take the end of a pulse or train; return False when the line is none of these."""
        train = self._trains.get(end.pin)
        if train is None:
            return False
        with self._lock:
            if train.first is None:
                if not end.complete:
                    return True  # of a train that the board has ended by itself
                time_usec = self._rows.time_usec(self._chip.time_ns(end.first_ticks))
                self._row(time_usec, end.pin, "lead", -max(1, train.lead))
                return True
            self._check_end(train, end)
            if self._stopping:
                self._row(
                    self._rows.time_usec(self._chip.time_ns(end.last_ticks)), end.pin, "end",
                    train.next_edge,
                )  # fmt: skip
                train.ended = True
                self._chip.waiting.look_again()
        return True

    def on_exchange(self) -> None:
        """Report where the trains are, by the newest estimate of the chip's clock."""
        with self._lock:
            for train in self._trains.values():
                if train.first is not None:
                    self._advance(train, self._chip.waiting.now_ns())
                    self._row_of(train)

    def stop(self) -> None:
        """End the trains, and wait for their counts."""
        with self._lock:
            self._stopping = True
            running = [train for train in self._trains.values() if train.first is not None]
            for train in self._trains.values():
                self._cancel(train)
        try:
            for train in self._trains.values():
                self._send(chip_encode.stop_pulses(train.wish.line))
            for line in self._strobes:
                self._send(chip_encode.watch_edges({line: Edges.NONE}))
        except DeviceError:
            return  # the board is lost, which the session has reported
        self._chip.waiting.until(lambda: all(train.ended for train in running), _END_S)

    def finish(self) -> None:
        """Report what the cameras have had of each line's edges, and how they are in step."""
        for line, train in self._trains.items():
            ends = {name: self._ends[name] for name in train.cameras if name in self._ends}
            for name, end in ends.items():
                made, last = train.next_edge, end.edge + 1
                self._report(f"trigger_{name}", f"{end.count} frames of {last} edges")
                if train.ended and last > made:
                    self._note_loss(
                        f"line {line} had {made} edges, and {name} has a frame of edge {end.edge}",
                        "Frames came without a trigger: check its wire and the camera's mode.",
                    )
            for (one, a), (other, b) in itertools.combinations(ends.items(), 2):
                self._report(
                    f"in_step_{one}_{other}",
                    f"frames of one edge are {abs(a.delay_usec - b.delay_usec)} µs apart"
                    f" ({one} {a.delay_usec} µs, {other} {b.delay_usec} µs after it)",
                )

    def _begin_when_ready(self, train: _Train) -> None:
        idle = train.first is None and train.timer is None
        if idle and train.cameras and not self._stopping and train.ready.issuperset(train.cameras):
            period_usec = 1e6 / train.wish.rate_hz
            train.period = self._ticks(period_usec)
            train.lead = _LEAD_PULSES if period_usec < LEAD_SPACING_USEC else 0
            self._order(train)

    def _order(self, train: _Train) -> None:
        """Order the next single pulse, or the train."""
        clock, waiting = self._chip.clock, self._chip.waiting
        assert clock is not None
        start_ns = waiting.now_ns() + _MARGIN_NS
        ticks, width = clock.to_ticks(start_ns), self._ticks(train.wish.exposure_usec)
        train.timer = None
        try:
            self._send(
                chip_encode.train(
                    train.wish.line,
                    width,
                    train.period - width,
                    1 if train.lead else chip_encode.WITHOUT_END,
                    start=ticks,
                    active_low=train.wish.active_low,
                    report=True,
                )
            )
        except DeviceError:
            return  # the board is lost, which the session has reported
        if train.lead:
            next_ns = start_ns + LEAD_SPACING_USEC * 1000 - _MARGIN_NS
            train.timer = waiting.at(next_ns, lambda: self._order_next(train))
            return
        train.edge, train.ticks = train.first = train.next_edge, ticks
        self._row_of(train)
        self._log.info(
            "line %d: a train of %.6g Hz for %s",
            train.wish.line,
            1e6 / self._period_usec(train),
            ", ".join(train.cameras),
        )

    def _order_next(self, train: _Train) -> None:
        with self._lock:
            if train.timer is not None:
                train.lead -= 1
                self._order(train)

    def _check_end(self, train: _Train, end: PulseEnd) -> None:
        """Compare the chip's count of a train with that of the clock."""
        assert train.first is not None
        line, (first, ticks) = train.wish.line, train.first
        late = distance(ticks, end.first_ticks)
        width = self._ticks(train.wish.exposure_usec)
        completed = self._made(train, end.last_ticks - width) - first
        self._end(train, self._chip.time_ns(end.last_ticks))
        differs = (completed - end.count + _COUNT // 2) % _COUNT - _COUNT // 2
        if end.count and (abs(late) > _LATE_TICKS or abs(differs) > 1):
            self._note_loss(
                f"the train on line {line} began {late} ticks late, or lacks {differs} pulse(s):"
                " times of its frames are wrong",
                "Use fewer trains and samples on this board.",
            )

    def _end(self, train: _Train, time_ns: int) -> None:
        """Handle the end of a train: the numbers of the next one follow."""
        self._cancel(train)
        clock = self._chip.clock
        if train.first is not None and clock is not None and clock.is_set:
            train.next_edge = self._made(train, clock.to_ticks(time_ns))
        train.first = None

    @staticmethod
    def _cancel(train: _Train) -> None:
        if train.timer is not None:
            train.timer.cancel()
            train.timer = None

    def _made(self, train: _Train, ticks: int) -> int:
        """Return the number of the edge after a time."""
        return train.edge + distance(train.ticks, ticks) // train.period + 1

    def _advance(self, train: _Train, now_ns: int) -> None:
        clock = self._chip.clock
        assert clock is not None
        steps = self._made(train, clock.to_ticks(now_ns)) - 1 - train.edge
        if steps > 0:
            train.edge += steps
            train.ticks = (train.ticks + steps * train.period) % _WRAP

    def _row_of(self, train: _Train) -> None:
        clock = self._chip.clock
        assert clock is not None
        self._row(
            self._rows.time_usec(clock.to_monotonic_ns(train.ticks)),
            train.wish.line,
            "train",
            train.edge,
            self._period_usec(train),
        )

    def _row(
        self, time_usec: int, line: int, event: str, edge: int, period_usec: float = 0.0
    ) -> None:
        uncertainty = max(0, self._chip.uncertainty_usec)
        row = EdgeRow(time_usec, line, event, edge, period_usec, uncertainty)
        self._rows.add(*row.cells())

    def _ticks(self, usec: float) -> int:
        features = self._chip.features
        return round(usec * (features.tick_hz if features is not None else 1) / 1e6)

    def _period_usec(self, train: _Train) -> float:
        features, clock = self._chip.features, self._chip.clock
        assert features is not None
        assert clock is not None
        return train.period * 1e6 / features.tick_hz / (1 + clock.rate_ppm * 1e-6)
