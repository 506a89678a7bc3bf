"""What the module needs of a board with our firmware: one object to ask, to tell and to listen.

`take` hears the session's messages in the reader thread; everything else is called in the module's
main thread. One thread of its own asks the chip's time, quickly at first and then each second,
which also keeps a raised baud rate and a safe state awake.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata import chip_encode, encode
from mlink_drivers.firmata.arrival import wire_time_ns
from mlink_drivers.firmata.chip_clock import ChipClock
from mlink_drivers.firmata.chip_extra import (
    ChipOrder,
    PulseTrain,
    Reflex,
    RemoveReflex,
    SafeState,
    StopPulses,
    WatchEdges,
)
from mlink_drivers.firmata.extension_protocol import (
    BaudAnswer,
    ChipEdge,
    ClockAnswer,
    EdgeBlock,
    EdgeKind,
    EdgeWatch,
    EventsLost,
    ExtensionMessage,
    Feature,
    Features,
    decode_extension,
)
from mlink_drivers.firmata.protocol import Message, PinState, Sysex

TIMESTAMP_SOURCE: Final = "device-clock"
_ANSWER_S: Final = 1.0
_FIRST_EXCHANGES: Final = 16
_FIRST_PAUSE_S: Final = 0.02
_PAUSE_S: Final = 1.0
_REMEDY: Final = "Put mlink's firmware on the board: mlink flash DEVICE"

EdgeTaker = Callable[[ChipEdge, int], None]
"""Called with an edge and its time on CLOCK_MONOTONIC in ns."""


class ChipExtension:
    """The extension of one board; `features` is None on a firmware that lacks it."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        baud_rate: int,
        *,
        on_edge: EdgeTaker,
        on_event: Callable[[ExtensionMessage], None] = lambda _message: None,
        log: logging.Logger | None = None,
    ) -> None:
        self.features: Features | None = None
        self.clock: ChipClock | None = None
        self.watched: dict[int, EdgeKind] = {}
        self.events_lost = 0
        self.blocks_missing = 0
        """Blocks of edges that the line lost, by their sequence numbers."""
        self._send = send
        self._baud_rate = baud_rate
        self._on_edge = on_edge
        self._on_event = on_event
        self._log = log or logging.getLogger(__name__)
        self._answered = threading.Event()
        self._baud_answered = threading.Event()
        self._probing = False
        self._sequence: int | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the start -----------------------------------------------------------------------------

    def probe(self) -> Features | None:
        """Ask once whether the firmware has the extension.

        A pin state is asked for behind it: its answer alone is a no. (A version would do as well,
        but is the sign of a board that has restarted.)
        """
        self._answered.clear()
        self._probing = True
        self._send(chip_encode.feature_query() + encode.pin_state_query(0))
        self._answered.wait(_ANSWER_S)
        self._probing = False
        if self.features is not None:
            self._start_clock()
        return self.features

    def has(self, feature: Feature) -> bool:
        """Tell whether the board can do something."""
        return self.features is not None and self.features.has(feature)

    def raise_baud(self, baud_rate: int, set_baud_rate: Callable[[int], None]) -> bool:
        """Agree with the board on another baud rate; False when it stays as it is.

        `set_baud_rate` changes the host's end. The chip falls back by itself when it is not
        confirmed, and so do we.
        """
        if not self.has(Feature.BAUD) or not (self.features and self.features.highest_baud):
            return False
        before = self._baud_rate
        if not self._ask_baud(chip_encode.change_baud(baud_rate)):
            return False
        set_baud_rate(baud_rate)
        time.sleep(0.005)  # the board changes when its answer has left
        if self._ask_baud(chip_encode.confirm_baud()):
            self._baud_rate = baud_rate
            self._start_clock()
            return True
        set_baud_rate(before)
        time.sleep(_ANSWER_S)  # it has fallen back by then
        self._log.warning("the line does not carry %d baud; it stays at %d", baud_rate, before)
        return False

    def close(self) -> None:
        """End the thread; nothing is sent any more."""
        self._closing.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    # -- commands ------------------------------------------------------------------------------

    def pulse(self, line: int, duration_usec: int, *, report: bool = False) -> bool:
        """Let the chip make a pulse from now on; False when it cannot, and the host has to."""
        if not self.has(Feature.PULSES) or (
            self.features and line not in self.features.output_pins
        ):
            return False
        width = self._ticks(duration_usec)
        if not 2 <= width <= chip_encode.LONGEST_TICKS:
            return False
        self._send(chip_encode.pulse(line, width, report=report))
        return True

    def execute(
        self, line: int, order: ChipOrder, *, to_monotonic_ns: Callable[[int], int]
    ) -> None:
        """Carry out an order of `mlink.script`; DeviceError when the board cannot."""
        if self.features is None:
            raise DeviceError("the board's firmware has no clock of its own", remedy=_REMEDY)
        try:
            self._send(self._encode(line, order, to_monotonic_ns))
        except ValueError as error:
            raise DeviceError(f"line {line}: {error}", remedy="Correct the script.") from error

    def watch(self, line: int, kind: EdgeKind) -> None:
        """Have the edges of a line stamped by the chip."""
        self._require_edges(line)
        self.watched[line] = kind
        self._send(chip_encode.watch_edges({line: kind}))

    def replay(self) -> bytes:
        """Bytes that bring the watched lines back on a board that forgot them."""
        wanted = {line: kind for line, kind in self.watched.items() if kind}
        return chip_encode.watch_edges(wanted) if wanted else b""

    def _encode(self, line: int, order: ChipOrder, to_monotonic_ns: Callable[[int], int]) -> bytes:
        if isinstance(order, PulseTrain):
            start = None
            if order.start_usec is not None:
                if self.clock is None or not self.clock.is_set:
                    raise DeviceError("the board's clock is not known yet", remedy="Start later.")
                start = self.clock.to_ticks(to_monotonic_ns(order.start_usec))
            width = self._ticks(order.width_usec)
            rest = self._ticks(order.period_usec) - width
            low = order.active_low
            return chip_encode.train(line, width, rest, order.count, start=start, active_low=low)
        if isinstance(order, Reflex):
            return chip_encode.set_reflex(
                order.index,
                line,
                order.kind,
                order.output,
                order.action,
                width=self._ticks(order.width_usec),
                refractory=self._ticks(order.refractory_usec),
                condition=order.condition,
            )
        if isinstance(order, RemoveReflex):
            return chip_encode.remove_reflex(order.index)
        if isinstance(order, SafeState):
            return chip_encode.safe_state(order.timeout_msec, order.levels)
        if isinstance(order, WatchEdges):
            self._require_edges(line)
            self.watched[line] = order.kind
            return chip_encode.watch_edges({line: order.kind})
        assert isinstance(order, StopPulses)
        return chip_encode.stop_pulses(line)

    def _require_edges(self, line: int) -> None:
        if not self.has(Feature.EDGES) or self.features is None:
            raise DeviceError("the board does not stamp edges", remedy=_REMEDY)
        if line not in self.features.edge_pins:
            known = ", ".join(map(str, sorted(self.features.edge_pins)))
            raise DeviceError(f"line {line} has no interrupt", remedy=f"Use one of {known}.")

    def _ticks(self, usec: int) -> int:
        assert self.features is not None
        return usec * self.features.tick_hz // 1_000_000

    # -- what the board says (reader thread) -----------------------------------------------------

    def take(self, message: Message, arrival_ns: int) -> bool:
        """Take a message of the extension; False when it is none."""
        if isinstance(message, PinState) and self._probing:
            self._answered.set()
            return True
        if not isinstance(message, Sysex) or (self.features is None and not self._probing):
            return False
        decoded = decode_extension(message)
        if decoded is None:
            return False
        if isinstance(decoded, EdgeBlock):
            self._take_edges(decoded)
        elif isinstance(decoded, ClockAnswer):
            if self.clock is not None:
                self.clock.take(decoded, arrival_ns)
        elif isinstance(decoded, Features):
            self.features = decoded
            self._answered.set()
        elif isinstance(decoded, BaudAnswer):
            if not decoded.refused:
                self._baud_answered.set()
        else:
            if isinstance(decoded, EventsLost):
                self.events_lost = decoded.total
            elif isinstance(decoded, EdgeWatch) and self.clock is not None:
                self._tell(ChipEdge(decoded.pin, decoded.level, decoded.ticks))
            self._on_event(decoded)
        return True

    def _take_edges(self, block: EdgeBlock) -> None:
        if self._sequence is not None:
            self.blocks_missing += (block.sequence - self._sequence - 1) % 128
        self._sequence = block.sequence
        for edge in block.edges:
            self._tell(edge)

    def _tell(self, edge: ChipEdge) -> None:
        if self.clock is not None and self.clock.is_set:
            self._on_edge(edge, self.clock.to_monotonic_ns(edge.ticks))

    # -- the clock -----------------------------------------------------------------------------

    def _start_clock(self) -> None:
        """Begin to learn the chip's clock; anew when the line has changed."""
        assert self.features is not None
        self.close()
        self._closing.clear()
        self._sequence = None
        self.clock = ChipClock(self.features.tick_hz, wire_time_ns(1, self._baud_rate))
        self._thread = threading.Thread(target=self._ask, name="chip clock", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _ANSWER_S
        while self.clock.exchanges < _FIRST_EXCHANGES // 2 and time.monotonic() < deadline:
            time.sleep(_FIRST_PAUSE_S)

    def _ask(self) -> None:
        count = 0
        clock = self.clock
        assert clock is not None
        while not self._closing.wait(_FIRST_PAUSE_S if count < _FIRST_EXCHANGES else _PAUSE_S):
            try:
                self._send(clock.query(time.monotonic_ns()))
            except DeviceError:
                count = 0  # the board is away: its session says so; when it is back, ask quickly
                continue
            count += 1

    def _ask_baud(self, message: bytes) -> bool:
        self._baud_answered.clear()
        self._send(message)
        return self._baud_answered.wait(_ANSWER_S / 2)
