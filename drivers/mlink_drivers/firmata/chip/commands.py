"""Commands that the chip executes: edges, samples, pulses, trains, reflexes and the safe state.

`LineCommands` calls these methods under its lock. The reader thread calls the handlers of the
board's messages; a second lock protects what both use. Keeps the orders that a reconnected board
has to receive again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

from mlink.errors import DeviceError
from mlink.reflexes import Edges
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.analog import MOST_CHANNELS, ChipAnalog
from mlink_drivers.firmata.chip.extra import (
    ChipOrder,
    Count,
    Move,
    PulseTrain,
    Reflex,
    RemoveReflex,
    SafeState,
    Stepper,
    StopCounter,
    StopPulses,
    StopStepper,
    WatchEdges,
)
from mlink_drivers.firmata.chip.messages import AnalogBlock, Feature, PulseEnd
from mlink_drivers.firmata.chip.orders import ChipOrders
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.chip.pulses import ChipPulses
from mlink_drivers.firmata.chip.requirements import NO_FIRMWARE_REMEDY, ChipRequirements
from mlink_drivers.firmata.chip.session import ChipSession

_LEAST_PULSE_TICKS: Final = 2
_LONGEST_AHEAD_USEC: Final = 17 * 60_000_000
"""Longest time until a train begins: chip times are unique only within 17.9 minutes."""


class ChipCommands:
    """The commands of mlink's firmware; on another firmware every check returns False.

    Args:
        session: The session with the chip.
        send: Sends encoded messages to the board.
        to_monotonic_ns: Converts master time in µs to ns of CLOCK_MONOTONIC.
        on_pulse: Called with the times of each pulse that has ended.
        noise: As for `ChipPulses`.
        sampling_interval_msec: Interval of analog scans.
        safe_state_msec: Silence of the host after which outputs become safe; 0 for never.
        safe_values: Line → safe value; 0 for other lines.
    """

    def __init__(
        self,
        session: ChipSession,
        send: Callable[[bytes], None],
        *,
        to_monotonic_ns: Callable[[int], int],
        on_pulse: Callable[[PulseTimes], None] | None = None,
        noise: Callable[[], int] = lambda: 0,
        sampling_interval_msec: int = 19,
        safe_state_msec: int = 0,
        safe_values: Mapping[int, int] | None = None,
    ) -> None:
        self.orders = ChipOrders()
        self.requirements = ChipRequirements(session, self.orders)
        self._session = session
        self._send = send
        self._to_monotonic_ns = to_monotonic_ns
        self._on_pulse = on_pulse
        self._interval_usec = sampling_interval_msec * 1000
        self._safe_state_msec = safe_state_msec
        self._safe_values = safe_values or {}
        self._lock = threading.Lock()
        self._pulses = ChipPulses(noise)
        self._analog = ChipAnalog()
        self.late_warning = ""
        """A warning when the start of the last train had passed, else an empty string."""

    # -- digital inputs ------------------------------------------------------------------------

    @property
    def keeps_time(self) -> bool:
        """Whether the chip's times can be converted."""
        return self._session.keeps_time

    def stamps(self, line: int) -> bool:
        """Whether the chip timestamps a line's edges."""
        return self._session.stamps(line)

    def watch(self, line: int) -> bytes:
        """Return the order to report a line's edges: both, unless a script asked for others."""
        return self.orders.watch(line, self.orders.watched.get(line, Edges.BOTH))

    def checkable_lines(self, *, unasked: bool) -> list[int]:
        """Return the lines whose levels can be queried: those of which both edges are reported.

        Args:
            unasked: Without a cause; with check values every lost level has one.
        """
        if not self._session.keeps_time or (unasked and self._session.checked):
            return []
        return [line for line, kind in list(self.orders.watched.items()) if kind is Edges.BOTH]

    def unwatch(self, line: int) -> bytes:
        """Return the order to stop reporting a line's edges; empty when they are not reported."""
        return self.orders.watch(line, Edges.NONE) if line in self.orders.watched else b""

    # -- analog inputs -------------------------------------------------------------------------

    def samples(self, channel: int) -> bool:
        """Whether the chip can sample a channel in addition to the present ones.

        Without a clock, or with too many channels, the standard reports of Firmata are used.
        """
        session = self._session
        can = session.keeps_time and session.has(Feature.ANALOG_BLOCKS)
        return can and len({*self._analog.channels, channel}) <= MOST_CHANNELS

    def sample(self, channel: int, line: int) -> bytes:
        """Return the order to sample a channel in addition to the present ones."""
        with self._lock:
            self._analog.add(channel, line)
            return self._order_samples()

    def end_samples(self, channel: int) -> bytes:
        """Return the order to stop sampling a channel; empty when the chip does not sample it."""
        with self._lock:
            if not self._analog.remove(channel):
                return b""
            return self._order_samples()

    def _order_samples(self) -> bytes:
        self._analog.version = self._session.version
        return self._analog.order(self._interval_usec, self._session.baud_rate, self._tick_hz)

    @property
    def interval_warning(self) -> str:
        """A warning when the interval of samples is longer than set, else an empty string."""
        least_usec = self._analog.least_interval_usec()
        if least_usec <= self._interval_usec:
            return ""
        return (
            f"{len(self._analog.channels)} analog lines are sampled every {least_usec} µs at best,"
            f" not every {self._interval_usec} µs as set"
        )

    # -- pulses --------------------------------------------------------------------------------

    def pulse(self, line: int, duration_usec: int, commanded_ns: int, taken_slots: int) -> bool:
        """Start a pulse made by the chip.

        Args:
            line: The output.
            duration_usec: Width of the pulse.
            commanded_ns: When it was commanded, for the table of pulses.
            taken_slots: Timers of the chip that other functions use.

        Returns:
            False when the chip cannot make it, so that the host has to.
        """
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
            sent_ns = self._session.waiting.now_ns()
            self._pulses.begin(line, duration_usec, commanded_ns, sent_ns)
        self.orders.forget_train(line)
        self._send(chip_encode.pulse(line, width, report=True))
        return True

    def cut(self, line: int) -> None:
        """Handle another command for a line: it ends the pulse or train on it.

        Call it before the command is sent.
        """
        self.orders.forget_train(line)
        with self._lock:
            self._pulses.cut(line)

    def end_pulses(self) -> bytes:
        """Return the order to end every pulse and train, and the moves of steppers."""
        with self._lock:
            stops = [chip_encode.stop_pulses(line) for line in self._pulses.lines]
        return b"".join([*stops, self.orders.stop_steppers()])

    def give_up_pulses(self) -> None:
        """Report the pulses that have not ended, without an end, and forget them."""
        with self._lock:
            left = self._pulses.give_up()
        self._report(left)

    # -- orders of scripts -----------------------------------------------------------------------

    def execute(self, line: int, order: ChipOrder, commanded_ns: int) -> None:
        """Send an order of a script (`mlink.script`).

        Args:
            line: The line of the command.
            order: The decoded `extra` bytes of the command.
            commanded_ns: When it was commanded, for the table of pulses.

        Raises:
            DeviceError: The board has another firmware, or the order does not fit into a message.
        """
        if self._session.features is None:
            raise DeviceError(
                f"line {line}: the board's firmware has no trains, reflexes or edge timestamps",
                remedy=NO_FIRMWARE_REMEDY,
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
        if isinstance(order, Count):
            return orders.count(line, order)
        if isinstance(order, StopCounter):
            return orders.stop_counter(order.index)
        if isinstance(order, Stepper):
            return orders.stepper(order, order.position, tick_hz)
        if isinstance(order, Move):
            return orders.move(order, tick_hz)
        if isinstance(order, StopStepper):
            return chip_encode.stop_stepper(order.index, at_once=order.at_once)
        assert isinstance(order, StopPulses)
        self.cut(line)
        return chip_encode.stop_pulses(line)

    def _train(self, line: int, order: PulseTrain, commanded_ns: int) -> bytes:
        clock = self._session.clock
        start, start_ns, waits_usec, self.late_warning = None, 0, 0, ""
        if order.start_usec is not None:
            if clock is None or not clock.is_set:
                raise DeviceError("the board's clock is not known yet", remedy="Start later.")
            start_ns = self._to_monotonic_ns(order.start_usec)
            waits_usec = (start_ns - self._session.waiting.now_ns()) // 1000
            if waits_usec > _LONGEST_AHEAD_USEC:
                raise DeviceError(
                    f"line {line}: a train cannot begin {waits_usec / 60e6:.1f} minutes from now:"
                    " the board's clock counts no further",
                    remedy=f"Send it at most {_LONGEST_AHEAD_USEC / 60e6:.0f} minutes before, as by"
                    " syl.schedule_delayed_call.",
                )
            if waits_usec > 0:
                start = clock.to_ticks(start_ns)
            else:
                # At a time that has passed the board would make the pulses up, without pauses.
                self.late_warning = (
                    f"line {line}: the start_usec of a train had passed when it was ordered, so it"
                    " began at once; pulse_late_max_usec in the summary is by how much"
                )
                waits_usec = 0
        message = self.orders.train(line, order, self._tick_hz, start)
        with self._lock:
            self._pulses.cut(line)
            takes_usec = waits_usec + order.period_usec * max(0, order.count - 1)
            self._pulses.begin(
                line,
                order.width_usec,
                commanded_ns,
                self._session.waiting.now_ns(),
                takes_usec + order.width_usec if order.count else 1 << 60,
                due_ns=start_ns,
            )
        return message

    # -- safe state and replay -------------------------------------------------------------------

    def safe_outputs(self, outputs: Collection[int]) -> bytes:
        """Return the order for the safe state of the settings; empty when it is off.

        The order lists the outputs, so it has to be sent again whenever a line becomes an output.
        """
        if not self._safe_state_msec or not self._session.has(Feature.SAFE_STATE):
            return b""
        levels = {}
        if self._safe_values:
            lines = {*outputs, *self._safe_values}
            levels = {line: bool(self._safe_values.get(line, 0)) for line in sorted(lines)}
        return self.orders.safe_state(SafeState(self._safe_state_msec, levels))

    def disarm(self) -> bytes:
        """Return the orders after which the board keeps its outputs when the host disconnects.

        It switches the safe state and the reports of edges off.
        """
        if not self._session.has(Feature.SAFE_STATE):
            return b""
        lines = [self.unwatch(line) for line in list(self.orders.watched)]
        return chip_encode.safe_state(0) + b"".join(lines)

    def forget_all(self) -> None:
        """Forget pulses and samples in progress: the board has restarted."""
        self.give_up_pulses()
        with self._lock:
            self._analog = ChipAnalog()

    def replay(self, *, trains: bool) -> bytes:
        """Return the orders that restore a restarted board, but for the modes of its lines.

        Args:
            trains: Whether endless pulse trains are started again.
        """
        if self._session.features is None:
            return b""
        return self.orders.replay(self._tick_hz, trains=trains)

    def tripped(self) -> None:
        """Handle a safe state: the board has removed its reflexes and trains."""
        self.orders.forget_motion()

    # -- messages of the board (reader thread) ---------------------------------------------------

    def pulse_ended(self, end: PulseEnd) -> None:
        """Report the commands whose pulse or train has ended."""
        if not self._session.keeps_time:
            return
        last_ns = self._session.time_ns(end.last_ticks)
        with self._lock:
            since_ns, due_ns = self._pulses.since_ns(end.pin)
        # A long train has begun more than half a round of the chip's clock ago.
        first_ns = min(self._session.time_ns(end.first_ticks, since_ns, near_ns=due_ns), last_ns)
        with self._lock:
            ended = self._pulses.ended(end.pin, first_ns, last_ns, complete=end.complete)
        self._report(ended)

    def status_query(self) -> bytes:
        """Return a query of the board's counts, whose answer ends no order to sample."""
        with self._lock:
            return self._analog.status_query()

    def status_came(self) -> None:
        """Handle a status: an answer to the query that ends each order to sample, or to another.

        Blocks of samples that follow belong to the order before the query.
        """
        with self._lock:
            self._analog.pass_fence()

    def take_samples(self, block: AnalogBlock) -> tuple[list[tuple[int, int, int]], int]:
        """Convert a block of samples.

        Returns:
            The samples as (channel, value, ns of CLOCK_MONOTONIC), and the number of samples that
            the line lost before them.

        Raises:
            ImpossibleMessageError: The samples cannot have these times.
        """
        time_ns = self._session.time_ns
        with self._lock:
            found = list(self._analog.samples(block))
            if found:
                time_ns(found[-1][2])  # the last one is recent, the first one as old as the block
            samples = [(channel, value, time_ns(ticks, 0)) for channel, value, ticks in found]
            before = self._analog.missing_scans
            self._analog.count(block)
            lost = (self._analog.missing_scans - before) * len(self._analog.channels)
        return samples, lost

    @property
    def sampled_channels(self) -> int:
        """Number of channels that the chip samples."""
        return len(self._analog.channels)

    @property
    def _tick_hz(self) -> int:
        features = self._session.features
        return features.tick_hz if features is not None else 1

    def _report(self, pulses: list[PulseTimes]) -> None:
        if self._on_pulse is not None:
            for pulse in pulses:
                self._on_pulse(pulse)
