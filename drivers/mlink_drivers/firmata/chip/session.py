"""The dialogue with mlink's firmware: features, baud rate, clock and edges.

The session passes the board's messages to `take`; who connects the board calls the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink.waiting import Waiting
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.check import CHECK_BYTES, LAST_ID, opened, seal
from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.decode import decode_extension
from mlink_drivers.firmata.chip.messages import (
    BaudAnswer,
    ChipStatus,
    ClockAnswer,
    EdgeBlock,
    EdgeWatch,
    ExtensionId,
    ExtensionMessage,
    Feature,
    Features,
)
from mlink_drivers.firmata.chip.numbers import BlockNumbers
from mlink_drivers.firmata.chip.queries import FIRST_EXCHANGES, PAUSE_S, ClockQueries
from mlink_drivers.firmata.chip.window import EdgeOrder, ImpossibleMessageError, TimeWindow
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.arrival import wire_time_ns
from mlink_drivers.firmata.wire.protocol import Message, PinState, Sysex

TIMESTAMP_SOURCE: Final = "device-clock"
STAMP_USEC: Final = 4
"""Error of the chip's timestamp of an edge (measured: docs/boards.md)."""
PORT_USEC: Final = 40
"""Added error where lines on other ports switch together and each port has a time of its own."""
_ANSWER_S: Final = 1.0
WRONG_CHECK_VALUE: Final = "wrong check value"
"""Why a message is refused that has changed on the line."""
CHECKED_VERSION: Final = 2
"""The version from which on messages have a check value."""
_ASK_TIMES: Final = 3
_EVENT_BYTES: Final = 32
"""On the line for each event in the chip's queue, where other messages have half of the line."""

_IDS: Final = frozenset(map(int, ExtensionId))

Seal = Callable[[bytes], bytes]
LineCallback = Callable[[int, bool, int], object]
"""Called with line, level and time (ns of CLOCK_MONOTONIC)."""


class ChipSession:
    """The session with one chip; `features` is None on a firmware without the extension.

    Args:
        send: Sends encoded messages to the board.
        waiting: Makes the calls that query the clock.
        baud_rate: Present baud rate of the line.
        on_edge: Called with each edge.
        on_state: Called with the level of a line when its edges begin to be reported.
        on_event: Called with all other messages of the extension.
        on_blocks_missing: Called with the number of blocks of edges that the line lost.
        on_exchange: Called after each exchange of the clock.
        on_silence: Called when the board stops answering.
        on_refused: Called with the reason for each message of the board that is not used.
        on_seal: Called with what adds check values to messages, or None, from the moment on at
            which the board expects them.
        may_report: Whether the chip may report edges of a line: it was set so once.
        pause_s: Interval of clock queries.
        log: Where changes of the baud rate that failed are logged.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        waiting: Waiting,
        baud_rate: int,
        *,
        on_edge: LineCallback,
        on_state: LineCallback = lambda _line, _level, _time_ns: None,
        on_event: Callable[[ExtensionMessage], None] = lambda _message: None,
        on_blocks_missing: Callable[[int], None] = lambda _count: None,
        on_exchange: Callable[[ChipClock], None] = lambda _clock: None,
        on_silence: Callable[[DeviceError], None] = lambda _error: None,
        on_refused: Callable[[str], None] = lambda _reason: None,
        on_seal: Callable[[Seal | None], None] = lambda _seal: None,
        may_report: Callable[[int], bool] = lambda _line: True,
        pause_s: float = PAUSE_S,
        log: logging.Logger | None = None,
    ) -> None:
        self.features: Features | None = None
        self.clock: ChipClock | None = None
        self.baud_rate = baud_rate
        self._send = send
        self.waiting = waiting
        self._on_edge = on_edge
        self._on_state = on_state
        self._on_event = on_event
        self._on_blocks_missing = on_blocks_missing
        self._on_refused = on_refused
        self._on_seal = on_seal
        self._may_report = may_report
        self._queries = ClockQueries(
            send,
            waiting,
            pause_s,
            on_query=lambda: self._report_missing(self._numbers.settle()),
            on_exchange=on_exchange,
            on_silence=on_silence,
        )
        self._log = log or logging.getLogger(__name__)
        self._answered = False
        self._baud_answered = False
        self._probing = False
        self._asks_check = False
        self._checked = False
        """Whether messages have a check value, both ways."""
        self._wanted_baud_rate = 0
        self._stamp_usec = STAMP_USEC
        self._numbers = BlockNumbers()
        self._order = EdgeOrder()
        self._window = TimeWindow(0, 0)

    # -- the start -----------------------------------------------------------------------------

    def probe(self) -> Features | None:
        """Query the features; return None when the firmware lacks the extension.

        A pin state is queried behind the features. Every firmware answers that, so when this
        answer comes alone there is no extension. (A protocol version is not queried here, because
        it is the sign of a restarted board.)
        """
        self.close()
        self.features = self.clock = None
        self._answered = self._checked = False
        self._probing = True
        self._on_seal(None)
        features = self._ask_features()
        if features is not None and features.version >= CHECKED_VERSION and not self._check():
            features = None
        self.features = features
        self._probing = False
        return features

    def _ask_features(self) -> Features | None:
        """Query the features until two answers are equal: the line may lose or change one."""
        found: list[Features] = []
        for _ in range(_ASK_TIMES):
            self.features, self._answered = None, False
            self._send(chip_encode.feature_query() + encode.pin_state_query(0))
            self.waiting.until(lambda: self._answered, _ANSWER_S)
            answer: Features | None = self.features
            if answer in found:
                return answer
            if answer is not None:
                found.append(answer)
        if found:
            self._log.warning(
                "the board's answers about its features differ or are missing, so its clock is not"
                " used and readings carry their time of arrival. Check its cable and connect it"
                " again"
            )
        return None

    def _check(self) -> bool:
        """Ask the board to speak version 2; return False when it does not answer."""
        self._asks_check = True
        for _ in range(_ASK_TIMES):
            self._send(chip_encode.feature_query(checked=True))
            if self.waiting.until(lambda: self._checked, _ANSWER_S):
                break
        else:
            self._log.warning(
                "the board does not answer in version 2 of the extension, so its clock is not used"
                " and readings carry their time of arrival. Check its cable and connect it again"
            )
        self._asks_check = False
        return self._checked

    def raise_baud(self, baud_rate: int, set_baud_rate: Callable[[int], None]) -> bool:
        """Change the baud rate at both ends; nothing else may be sent meanwhile.

        When the chip does not confirm the new rate, both ends return to the old one.

        Args:
            baud_rate: Wanted rate; limited to the highest one of the board.
            set_baud_rate: Changes the host's end; may raise OSError.

        Returns:
            False when the rate stays as it was.
        """
        if not self.has(Feature.BAUD) or not (self.features and self.features.highest_baud):
            return False
        before = self.baud_rate
        baud_rate = min(baud_rate, self.features.highest_baud)
        self._wanted_baud_rate = baud_rate
        if not self._ask_baud(chip_encode.change_baud(baud_rate)):
            self._log.warning("the board refuses %d baud; it stays at %d", baud_rate, before)
            return False
        try:
            set_baud_rate(baud_rate)
            self._pause(0.005)  # the board changes its rate after sending its answer
            if self._ask_baud(chip_encode.confirm_baud()):
                self.baud_rate = baud_rate
                return True
        except OSError as error:  # the port or its adapter refuses this rate
            self._log.info("%d baud cannot be set: %s", baud_rate, error)
        set_baud_rate(before)
        self._pause(_ANSWER_S)  # the board has fallen back by then
        self._log.warning("no answer at %d baud; the line stays at %d", baud_rate, before)
        return False

    def start_clock(self) -> bool:
        """Start the clock's thread and wait for the first exchanges.

        Returns:
            False when the chip did not answer in time.
        """
        assert self.features is not None
        self.close()
        self._stamp_usec = STAMP_USEC + (0 if self.has(Feature.ONE_TIME) else PORT_USEC)
        self._numbers = BlockNumbers(self.version)
        self._order = EdgeOrder()
        queue_bytes = self.features.event_queue * _EVENT_BYTES + self.features.receive_buffer
        self._window = TimeWindow(self.waiting.now_ns(), wire_time_ns(queue_bytes, self.baud_rate))
        clock = self.clock = ChipClock(
            self.features.tick_hz,
            wire_time_ns(1, self.baud_rate),
            len(chip_encode.clock_query(0)) + CHECK_BYTES * self._checked,
            checked=self._checked,
        )
        self._queries.start(clock)
        self.waiting.until(lambda: clock.exchanges >= FIRST_EXCHANGES // 2, _ANSWER_S)
        return clock.is_set

    def close(self) -> None:
        """Query the clock no more."""
        self._queries.close()

    # -- what is known -------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Version of the extension in use."""
        return CHECKED_VERSION if self._checked else 1

    @property
    def checked(self) -> bool:
        """Whether messages have a check value, both ways."""
        return self._checked

    def has(self, feature: Feature) -> bool:
        """Whether the board has a feature."""
        return self.features is not None and self.features.has(feature)

    @property
    def is_usb(self) -> bool:
        """Whether the line is the processor's own USB, which has no baud rate."""
        return self.features is not None and not self.features.highest_baud

    @property
    def keeps_time(self) -> bool:
        """Whether the chip's times can be converted."""
        return self.clock is not None and self.clock.is_set

    def stamps(self, line: int) -> bool:
        """Whether the chip timestamps a line's edges and its times can be converted."""
        features = self.features
        return bool(
            features and self.keeps_time and self.has(Feature.EDGES) and line in features.edge_pins
        )

    def time_ns(self, ticks: int, earliest_ns: int | None = None, near_ns: int = 0) -> int:
        """Convert a time of the present message to ns of CLOCK_MONOTONIC; only when `keeps_time`.

        Call it in the handlers of messages, before anything else of the message is used.

        Args:
            ticks: The chip's time.
            earliest_ns: The earliest time that it can have; by default it is a recent one.
            near_ns: The time that it is nearest to; 0 is the present.

        Raises:
            ImpossibleMessageError: The message cannot have this time; `take` counts that.
        """
        clock, window = self.clock, self._window
        assert clock is not None
        time_ns = clock.to_monotonic_ns(ticks, near_ns)
        window.check(time_ns, self.uncertainty_usec * 1000, clock.covered_ns, earliest_ns)
        return time_ns

    @property
    def uncertainty_usec(self) -> int:
        """Standard error of an edge's time in µs; −1 while the clock is not known."""
        if self.clock is None or not self.clock.is_set:
            return -1
        return self.clock.uncertainty_usec + self._stamp_usec

    @property
    def noisy_usec(self) -> int:
        """The same without check values, while bytes change: older times are refused."""
        return self.uncertainty_usec + (0 if self._checked else self._window.longest_ns // 1000)

    # -- messages of the board -------------------------------------------------------------------

    def take(self, message: Message, arrival_ns: int) -> bool:
        """Handle a message; return False when it is not of the extension.

        A message with a time that it cannot have is refused.

        Args:
            message: Any message of the board.
            arrival_ns: When its first byte began on the wire (ns of CLOCK_MONOTONIC).
        """
        if not isinstance(message, Sysex):
            if isinstance(message, PinState) and self._probing:
                self._answered = True
                return True
            return False
        if self.features is None and not self._probing:
            return False
        if message.id <= LAST_ID and (self._checked or self._asks_check):
            data = opened(message.id, message.data)
            if data is None:
                self._on_refused(WRONG_CHECK_VALUE)
                return True
            if not self._checked and message.id == ExtensionId.FEATURES:
                self._checked = True  # it answers the query that asked for check values
                self._on_seal(seal)
            message = Sysex(message.id, data)
        decoded = decode_extension(message, self.version)
        if decoded is None:
            # With a right check value it is a message of a later firmware.
            if self._checked or self._probing or message.id not in _IDS:
                return False
            self._on_refused("a wrong format")
            return True
        now_ns = self.waiting.now_ns()
        last_byte_ns = arrival_ns + wire_time_ns(message.length, self.baud_rate)
        self._window.move(now_ns, max(now_ns, last_byte_ns))
        try:
            self._take(decoded, arrival_ns)
        except ImpossibleMessageError as error:
            self._on_refused(str(error))
        return True

    def _take(self, decoded: ExtensionMessage, arrival_ns: int) -> None:
        if isinstance(decoded, EdgeBlock):
            self._take_edges(decoded)
        elif isinstance(decoded, ClockAnswer):
            if self.clock is not None:
                self.clock.take(decoded, arrival_ns)
        elif isinstance(decoded, Features):
            self.features = decoded  # the pin state that follows ends the probing
        elif isinstance(decoded, EdgeWatch):
            if self.keeps_time:
                self._on_state(decoded.pin, decoded.level, self.time_ns(decoded.ticks))
        elif isinstance(decoded, BaudAnswer) and decoded.step != BaudAnswer.FELL_BACK:
            # After a late confirmation the answer has the rate that the board fell back to.
            if not decoded.refused and decoded.baud_rate == self._wanted_baud_rate:
                self._baud_answered = True
        else:
            if isinstance(decoded, ChipStatus) and decoded.next_block >= 0:
                self._report_missing(self._numbers.expect(decoded.next_block))
            self._on_event(decoded)

    def _take_edges(self, block: EdgeBlock) -> None:
        # All checks first: a block that is refused has no number either, so the next one misses it.
        if not self._checked and not all(self._may_report(edge.pin) for edge in block.edges):
            raise ImpossibleMessageError("an edge of a line that is no input")
        times = [self.time_ns(edge.ticks) for edge in block.edges] if self.keeps_time else []
        if times:
            self._order.take(block, times, refuse=not self._checked)
        self._report_missing(self._numbers.take(block.sequence))
        if times:
            for edge, time_ns in zip(block.edges, times, strict=True):
                self._on_edge(edge.pin, edge.level, time_ns)

    def _report_missing(self, count: int) -> None:
        if count:
            self._on_blocks_missing(count)

    def _ask_baud(self, message: bytes) -> bool:
        self._baud_answered = False
        self._send(message)
        return self.waiting.until(lambda: self._baud_answered, _ANSWER_S / 2)

    def _pause(self, seconds: float) -> None:
        self.waiting.until(lambda: False, seconds)
