"""Commands that the chip carries out by itself: edges, pulses, trains, reflexes, samples, safety.

Called by `LineCommands` under its lock, and for what the board tells in the reader thread, under a
lock of its own. Remembers what a board that is back must be told again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from mlink.errors import DeviceError
from mlink.reflexes import Edges
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.analog import MOST_CHANNELS, ChipAnalog
from mlink_drivers.firmata.chip.extra import (
    ChipOrder,
    PulseTrain,
    Reflex,
    RemoveReflex,
    SafeState,
    StopPulses,
    WatchEdges,
)
from mlink_drivers.firmata.chip.messages import AnalogBlock, Feature, PulseEnd
from mlink_drivers.firmata.chip.orders import ChipOrders
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.chip.pulses import ChipPulses
from mlink_drivers.firmata.chip.session import ChipSession

_REMEDY: Final = "Put mlink's firmware on the board: mlink flash DEVICE"
_LEAST_PULSE_TICKS: Final = 2


class ChipCommands:
    """What a board with our firmware does by itself; on another firmware it can nothing."""

    def __init__(
        self,
        session: ChipSession,
        send: Callable[[bytes], None],
        *,
        to_monotonic_ns: Callable[[int], int],
        on_pulse: Callable[[PulseTimes], None] | None = None,
        sampling_interval_msec: int = 19,
        safe_state_msec: int = 0,
        safe_values: Mapping[int, int] | None = None,
    ) -> None:
        self.orders = ChipOrders()
        self._session = session
        self._send = send
        self._to_monotonic_ns = to_monotonic_ns
        self._on_pulse = on_pulse
        self._interval_usec = sampling_interval_msec * 1000
        self._safe_state_msec = safe_state_msec
        self._safe_values = safe_values or {}
        self._lock = threading.Lock()
        self._pulses = ChipPulses()
        self._analog = ChipAnalog()

    # -- digital inputs ------------------------------------------------------------------------

    @property
    def keeps_time(self) -> bool:
        """Whether the chip's times can be converted."""
        return self._session.keeps_time

    def stamps(self, line: int) -> bool:
        """Whether the chip stamps a line's edges."""
        return self._session.stamps(line)

    def watch(self, line: int) -> bytes:
        """Return the order to stamp a line's edges: both, unless a script asked for others."""
        return self.orders.watch(line, self.orders.watched.get(line, Edges.BOTH))

    def require_edges(self, line: int) -> None:
        """Raise DeviceError when the chip does not stamp a line's edges."""
        features = self._session.features
        if not self._session.keeps_time or features is None:
            raise DeviceError(
                f"the edges of line {line} cannot be stamped: the board's firmware has no clock",
                remedy=_REMEDY,
            )
        if line not in features.edge_pins:
            known = ", ".join(map(str, sorted(features.edge_pins))) or "none"
            raise DeviceError(
                f"the edges of line {line} cannot be stamped: it has no interrupt",
                remedy=f"Use one of the lines {known}.",
            )

    def unwatch(self, line: int) -> bytes:
        """Return the order to stamp them no more; nothing when they are not."""
        return self.orders.watch(line, Edges.NONE) if line in self.orders.watched else b""

    # -- analog inputs -------------------------------------------------------------------------

    def samples(self, channel: int) -> bool:
        """Whether the chip can time a channel's samples besides those of the others."""
        session = self._session
        can = session.keeps_time and session.has(Feature.ANALOG_BLOCKS)
        return can and len({*self._analog.channels, channel}) <= MOST_CHANNELS

    def sample(self, channel: int, line: int) -> bytes:
        """Return the order to sample a channel besides those before."""
        with self._lock:
            self._analog.add(channel, line)
            return self._order_samples()

    def end_samples(self, channel: int) -> bytes:
        """Return the order to sample a channel no more; nothing when it is not."""
        with self._lock:
            if not self._analog.remove(channel):
                return b""
            return self._order_samples()

    def _order_samples(self) -> bytes:
        return self._analog.order(self._interval_usec, self._session.baud_rate, self._tick_hz)

    @property
    def interval_warning(self) -> str:
        """Why samples come less often than asked, if they do."""
        least_usec = self._analog.least_interval_usec()
        if least_usec <= self._interval_usec:
            return ""
        return (
            f"{len(self._analog.channels)} analog lines are sampled every {least_usec} µs at best,"
            f" not every {self._interval_usec} µs as set"
        )

    # -- pulses --------------------------------------------------------------------------------

    def pulse(self, line: int, duration_usec: int, commanded_ns: int, taken_slots: int) -> bool:
        """Let the chip make a pulse from now on; False when it cannot, and the host has to."""
        features = self._session.features
        if features is None or not self._session.has(Feature.PULSES):
            return False
        width = duration_usec * features.tick_hz // 1_000_000
        if line not in features.output_pins or not (
            _LEAST_PULSE_TICKS <= width <= chip_encode.LONGEST_TICKS
        ):
            return False
        with self._lock:
            pulsing = self._pulses.lines
            if line not in pulsing and len(pulsing) + taken_slots >= features.pulse_slots:
                return False
            sent_ns = time.monotonic_ns()
            self._pulses.begin(line, duration_usec, commanded_ns, sent_ns)
        self.orders.forget_train(line)
        self._send(chip_encode.pulse(line, width, report=True))
        return True

    def cut(self, line: int) -> None:
        """Note that a line is told something else, which ends what pulses on it."""
        self.orders.forget_train(line)
        with self._lock:
            self._pulses.cut(line)

    def end_pulses(self) -> bytes:
        """Return the order to bring every pulsing line to rest."""
        with self._lock:
            return b"".join(chip_encode.stop_pulses(line) for line in self._pulses.lines)

    def give_up_pulses(self) -> None:
        """Tell of the pulses that have no end yet; they are not told again."""
        with self._lock:
            left = self._pulses.give_up()
        self._tell(left)

    # -- orders of scripts -----------------------------------------------------------------------

    def execute(self, line: int, order: ChipOrder, commanded_ns: int) -> None:
        """Carry out an order of `mlink.script`; DeviceError when the board cannot."""
        if self._session.features is None:
            raise DeviceError(
                f"line {line}: the board's firmware knows no trains, reflexes or stamped edges",
                remedy=_REMEDY,
            )
        try:
            self._send(self._encode(line, order, commanded_ns))
        except ValueError as error:
            raise DeviceError(f"line {line}: {error}", remedy="Correct the script.") from error

    def _encode(self, line: int, order: ChipOrder, commanded_ns: int) -> bytes:
        orders, tick_hz = self.orders, self._tick_hz
        if isinstance(order, PulseTrain):
            return self._train(line, order, commanded_ns)
        if isinstance(order, Reflex):
            return orders.reflex(line, order, tick_hz)
        if isinstance(order, RemoveReflex):
            return orders.remove_reflex(order.index)
        if isinstance(order, SafeState):
            return orders.safe_state(order)
        if isinstance(order, WatchEdges):
            return orders.watch(line, order.kind)
        assert isinstance(order, StopPulses)
        self.cut(line)
        return chip_encode.stop_pulses(line)

    def _train(self, line: int, order: PulseTrain, commanded_ns: int) -> bytes:
        clock = self._session.clock
        start, waits_usec = None, 0
        if order.start_usec is not None:
            if clock is None or not clock.is_set:
                raise DeviceError("the board's clock is not known yet", remedy="Start later.")
            start_ns = self._to_monotonic_ns(order.start_usec)
            start = clock.to_ticks(start_ns)
            waits_usec = max(0, start_ns - time.monotonic_ns()) // 1000
        message = self.orders.train(line, order, self._tick_hz, start)
        with self._lock:
            self._pulses.cut(line)
            takes_usec = waits_usec + order.period_usec * max(0, order.count - 1)
            self._pulses.begin(
                line,
                order.width_usec,
                commanded_ns,
                time.monotonic_ns(),
                takes_usec + order.width_usec if order.count else 1 << 60,
            )
        return message

    # -- safe state and replay -------------------------------------------------------------------

    def safe_outputs(self, outputs: Collection[int]) -> bytes:
        """Return the safe state of the settings for these outputs; nothing when it is off."""
        if not self._safe_state_msec or not self._session.has(Feature.SAFE_STATE):
            return b""
        levels = {}
        if self._safe_values:
            lines = {*outputs, *self._safe_values}
            levels = {line: bool(self._safe_values.get(line, 0)) for line in sorted(lines)}
        return self.orders.safe_state(SafeState(self._safe_state_msec, levels))

    def disarm(self) -> bytes:
        """Return what leaves the board as it is when the host goes."""
        if not self._session.has(Feature.SAFE_STATE):
            return b""
        lines = [self.unwatch(line) for line in list(self.orders.watched)]
        return chip_encode.safe_state(0) + b"".join(lines)

    def forget_all(self) -> None:
        """A board came back and knows of nothing that was under way."""
        self.give_up_pulses()
        with self._lock:
            self._analog = ChipAnalog()

    def replay(self, *, trains: bool) -> bytes:
        """Return what a board that is back must be told besides its lines' modes."""
        if self._session.features is None:
            return b""
        return self.orders.replay(self._tick_hz, trains=trains)

    def tripped(self) -> None:
        """The board made its outputs safe: it has no reflexes and trains any more."""
        self.orders.forget_motion()

    # -- what the board says (reader thread) -----------------------------------------------------

    def pulse_ended(self, end: PulseEnd) -> None:
        """Tell of the commands that made a pulse or a train."""
        if not self._session.keeps_time:
            return
        first_ns, last_ns = map(self._session.time_ns, (end.first_ticks, end.last_ticks))
        with self._lock:
            ended = self._pulses.ended(end.pin, first_ns, last_ns, complete=end.complete)
        self._tell(ended)

    def status_came(self) -> None:
        """Take a status for the fence between two lists of channels."""
        with self._lock:
            self._analog.pass_fence()

    def take_samples(self, block: AnalogBlock) -> tuple[list[tuple[int, int, int]], int]:
        """Return samples as (channel, value, ns of CLOCK_MONOTONIC), and how many were lost."""
        with self._lock:
            before = self._analog.missing_scans
            samples = list(self._analog.samples(block))
            lost = (self._analog.missing_scans - before) * len(self._analog.channels)
        time_ns = self._session.time_ns
        return [(channel, value, time_ns(ticks)) for channel, value, ticks in samples], lost

    @property
    def sampled_channels(self) -> int:
        """Number of channels that the chip samples."""
        return len(self._analog.channels)

    @property
    def _tick_hz(self) -> int:
        features = self._session.features
        return features.tick_hz if features is not None else 1

    def _tell(self, pulses: list[PulseTimes]) -> None:
        if self._on_pulse is not None:
            for pulse in pulses:
                self._on_pulse(pulse)
