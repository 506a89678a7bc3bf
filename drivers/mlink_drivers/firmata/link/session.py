"""The connection to one board: handshake, reading, sending, loss and close.

Bytes are read in calls of the session's `Waiting`: in real time in its thread, the reader. The time
is taken once per burst of bytes; the listener is called with each message and the arrival time of
its first byte.
"""

from __future__ import annotations

import enum
import logging
import threading
from typing import Final, Protocol, Self

import msgspec

from mlink.errors import DeviceError
from mlink.waiting import Registration, ServiceLoop, Waiting
from mlink_drivers.firmata.link.outgoing import Outgoing
from mlink_drivers.firmata.link.silence import Signs
from mlink_drivers.firmata.link.transport import DeviceLostError, Transport, wait_sent
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.arrival import ArrivalTimes
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.handshake import REPEAT_S, BoardDescription, Handshake
from mlink_drivers.firmata.wire.protocol import Message

_log = logging.getLogger(__name__)


class SessionState(enum.Enum):
    """State of a session."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"


_MOVES: Final[dict[SessionState, set[SessionState]]] = {
    SessionState.CLOSED: {SessionState.CONNECTING},
    SessionState.CONNECTING: {SessionState.CONNECTED, SessionState.CLOSED},
    SessionState.CONNECTED: {SessionState.LOST, SessionState.CLOSED},
    SessionState.LOST: {SessionState.CONNECTING, SessionState.CLOSED},
}
"""The allowed transitions; a lost session may connect again."""


class SessionListener(Protocol):
    """Receives a session's events in the calls of its `Waiting`; it must not block."""

    def on_message(self, message: Message, arrival_ns: int) -> None:
        """Handle a message whose first byte arrived at `arrival_ns` (ns of CLOCK_MONOTONIC)."""

    def on_loss(self, error: DeviceError) -> None:
        """Handle the loss of the board; called once per connection."""

    def on_fault(self, error: Exception) -> None:
        """Handle an exception that `on_message` raised; the session goes on reading."""


class SessionStatistics(msgspec.Struct):
    """Counts since a session was made."""

    bytes_in: int = 0
    messages_in: int = 0
    """Since a connection was made; not those of the handshake."""
    bytes_out: int = 0
    dropped_bytes: int = 0
    """Bytes that belonged to no message, such as noise."""
    oversized: int = 0
    """Sysex messages that were dropped because of their length."""


class Session:
    """The connection to one board; as a context manager it connects and closes.

    Args:
        transport: The line to the board, not opened yet.
        listener: Receives messages and losses.
        waiting: Makes the session's calls; by default it owns one, with a thread.
        name: The board's name in messages; by default the transport's address.
        handshake_timeout_s: Longest wait for complete answers of the board.
        reset_on_close: Whether `close` resets the board, which takes its outputs low.
    """

    def __init__(
        self,
        transport: Transport,
        listener: SessionListener,
        *,
        waiting: Waiting | None = None,
        name: str = "",
        handshake_timeout_s: float = 8.0,
        reset_on_close: bool = True,
    ) -> None:
        self.name = name or transport.address
        self.transport = transport
        self.waiting: Waiting = waiting or ServiceLoop(f"firmata-reader {self.name}")
        """Makes the calls of all that belongs to this board."""
        self.decoder = Decoder()
        self.outgoing = Outgoing(self.waiting, self.drop)
        self.signs = Signs()
        self._description: BoardDescription | None = None
        self._listener = listener
        self._timeout_s = handshake_timeout_s
        self._reset_on_close = reset_on_close
        self._state = SessionState.CLOSED
        self._parting = False
        """Whether `close` sends the last bytes of a connection."""
        self._state_lock = threading.Lock()
        self._arrivals = ArrivalTimes(transport.baud_rate)
        self._statistics = SessionStatistics()
        self._owns_waiting = waiting is None
        self._registration: Registration | None = None
        self._handshake: Handshake | None = None
        self._failure: DeviceError | None = None
        """The loss of the line during the handshake."""

    @property
    def state(self) -> SessionState:
        """State of the session."""
        return self._state

    @property
    def sent_ns(self) -> int:
        """When all that was written will have left, at the line's baud rate at the earliest."""
        return self.outgoing.sent_ns

    @property
    def statistics(self) -> SessionStatistics:
        """A copy of the counts so far."""
        return msgspec.structs.replace(
            self._statistics,
            bytes_out=self.outgoing.bytes_out,
            dropped_bytes=self.decoder.dropped_bytes,
            oversized=self.decoder.oversized,
        )

    @property
    def description(self) -> BoardDescription:
        """The board that answered; kept while it is away.

        Raises:
            DeviceError: No board has answered yet.
        """
        if self._description is None:
            raise DeviceError(
                f"{self.name} is not known yet", remedy="Call connect() before asking what it is."
            )
        return self._description

    def connect(self) -> BoardDescription:
        """Open the line, find out which board is on it and start the reader.

        Raises:
            DeviceError: The line cannot be opened, nothing on it answers in Firmata within the
                handshake's timeout, or the session is connected already.
        """
        return self._connect(self.transport, None)

    def reconnect(self, transport: Transport) -> None:
        """Connect again to a board that was lost; nothing that was sent to it is sent again.

        Args:
            transport: Where the board is now, not opened yet; it replaces the present one.

        Raises:
            DeviceError: As `connect`, or another board answers than before.
        """
        self._connect(transport, self.description)

    def send(self, data: bytes) -> None:
        """Send encoded messages at once, from any thread.

        Raises:
            DeviceLostError: The session is not connected, or the write failed.
        """
        if self._state is not SessionState.CONNECTED:
            raise DeviceLostError(
                f"{self.transport.address} is {self._state.value}",
                remedy="Connect the board before sending to it.",
            )
        try:
            self.outgoing.write(self.transport, data)
        except DeviceLostError as error:
            self.drop(error)
            raise

    def occupy(self, time_ns: int) -> None:
        """Let what is sent from now on wait, as the board is busy with what was sent so far.

        Args:
            time_ns: For how long it reads no further bytes from its buffer.
        """
        with self.outgoing.lock:
            if self.outgoing.pace is not None:
                self.outgoing.pace.occupy(time_ns, self.waiting.now_ns())

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the baud rate of the open line; the board has to change at the same time.

        Raises:
            OSError: The port refuses the rate.
        """
        with self.outgoing.lock:
            self.transport.set_baud_rate(baud_rate)
            self._arrivals = ArrivalTimes(baud_rate)

    def note_wire_rate(self, bits_per_sec: int) -> None:
        """Compute arrival times by the rate of the wire, which over USB is not the port's."""
        self._arrivals = ArrivalTimes(bits_per_sec)

    def close(self, farewell: bytes = b"") -> None:
        """Send `farewell` and a reset to a connected board, then close the line.

        May be called again, from any thread and from the listener. A call during `connect` makes
        that call fail; the connecting thread closes the line itself.
        """
        with self._state_lock:
            if self._parting:
                return  # another call sends the farewell, and closes
            before = self._state
            self._parting = before is SessionState.CONNECTED
            if not self._parting:
                self._state = SessionState.CLOSED
        if before is SessionState.CONNECTED:
            try:
                self._part(farewell)
            finally:
                with self._state_lock:
                    self._state, self._parting = SessionState.CLOSED, False
        if before is SessionState.CONNECTING:  # the thread that connects closes the line
            self.waiting.look_again()
            return
        self._release()
        self.waiting.settle()
        if self._owns_waiting:
            self.waiting.close()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _part(self, farewell: bytes) -> None:
        """Send the last bytes and wait until they have left; the line is still read meanwhile."""
        try:
            self.outgoing.hurry(self.transport)
            reset = encode.system_reset() if self._reset_on_close else b""
            self.outgoing.write(self.transport, farewell + reset)
            if not self.waiting.is_virtual:
                wait_sent(self.transport)
        except DeviceLostError as error:
            _log.warning(
                "%s: the reset at the end could not be sent, so its outputs may still be on: %s."
                " Reset the board, or take its power away",
                self.name,
                error.message,
            )

    def _connect(self, transport: Transport, before: BoardDescription | None) -> BoardDescription:
        self._move(SessionState.CONNECTING)
        try:
            self.outgoing.reset()
            self._release()  # of a lost connection
            self.transport = transport
            self.transport.open()
            self.decoder.reset()
            self._arrivals = ArrivalTimes(self.transport.baud_rate)
            found = self._shake_hands()
            if before is not None and (difference := found.difference(before)):
                raise DeviceError(
                    f"what answers at {transport.address} is another board: {difference}",
                    remedy=f"Plug {self.name} in again.",
                )
            self._description = found
            self._move(SessionState.CONNECTED)
            self._handshake = None
        except BaseException:
            self._handshake = None
            with self._state_lock:
                self._state = SessionState.CLOSED
            self._release()
            if self._owns_waiting:
                self.waiting.close()
            raise
        return found

    def _shake_hands(self) -> BoardDescription:
        handshake = Handshake(self.transport.address)
        waiting = self.waiting
        deadline_ns = waiting.now_ns() + round(self._timeout_s * 1e9)
        self.transport.discard_input()
        self._handshake, self._failure = handshake, None
        self._registration = waiting.on_readable(self.transport.fileno(), self._on_readable)
        while not handshake.complete:
            self._check_connecting()
            left_s = (deadline_ns - waiting.now_ns()) / 1e9
            if left_s <= 0:
                raise handshake.failure(self._timeout_s, self.transport.baud_rate)
            identified, asked_ns = handshake.identified, waiting.now_ns()
            self.outgoing.write(self.transport, handshake.request())
            if handshake.complete:
                break
            waiting.until(
                lambda before=identified: (  # type: ignore[misc]
                    handshake.complete
                    or handshake.identified != before
                    or self._failure is not None
                    or self._state is not SessionState.CONNECTING
                ),
                min(REPEAT_S, left_s),
            )
            if not handshake.complete and waiting.is_virtual and waiting.now_ns() == asked_ns:
                self._check_connecting()
                raise DeviceError(f"the run has ended while {self.transport.address} connected")
        if self._failure is not None:
            raise self._failure
        return handshake.description()

    def _check_connecting(self) -> None:
        """Raise DeviceError when the line was lost or closed during the handshake."""
        if self._failure is not None:
            raise self._failure
        if self._state is not SessionState.CONNECTING:
            raise DeviceError(f"{self.transport.address} was closed while connecting")

    def _on_readable(self, now_ns: int) -> None:
        """Read a burst; called when bytes are there, or the line has hung up."""
        if self._state is SessionState.CLOSED:
            return  # the thread that closes, or that connects, closes the line
        try:
            data = self.transport.read()
            if data:
                self._statistics.bytes_in += len(data)
                self.signs.note(now_ns)
                self._hand_on(data, now_ns)
        except DeviceLostError as error:
            self._stop_reading(error)
        except Exception as error:  # noqa: BLE001 - reported as a loss
            _log.exception("%s: the reader failed", self.name)
            self._stop_reading(
                DeviceError(
                    f"reading {self.transport.address} failed: {error!r}",
                    remedy="This is a fault of mlink; please report it with the log.",
                )
            )

    def _stop_reading(self, error: DeviceError) -> None:
        """Handle the loss of the line; a line that has hung up would always be readable."""
        # A removed device keeps its name (ttyACM0) until all descriptors are closed.
        self._release()
        if self._handshake is not None:
            self._failure = error
        else:
            self.drop(error)

    def _hand_on(self, data: bytes, read_ns: int) -> None:
        if (handshake := self._handshake) is not None:
            handshake.keep(data)
            for message in self.decoder.feed(data):
                handshake.take(message)
            return
        arrivals = self._arrivals
        arrivals.note_burst(read_ns, len(data))
        messages = self.decoder.feed(data)
        self._statistics.messages_in += len(messages)
        for message in messages:
            try:
                self._listener.on_message(message, arrivals.first_byte_ns(message.offset))
            except Exception as error:  # noqa: BLE001 - reading goes on
                self._listener.on_fault(error)

    def await_sent(self) -> None:
        """Wait in virtual time until what was written has been sent; writes wait in real time."""
        if self._state is SessionState.CONNECTED:
            self.outgoing.await_sent()

    def drop(self, error: DeviceError) -> None:
        """Treat the board as lost, also one that has restarted; it can be connected again."""
        with self._state_lock:
            if self._state is not SessionState.CONNECTED or self._parting:
                return  # closed, or lost already, or the farewell reports it
            self._state = SessionState.LOST
        # Not at once: who writes may hold a lock that a call waits for.
        if (registration := self._registration) is not None:
            self.waiting.at(self.waiting.now_ns(), lambda: self._release(registration))
        self._listener.on_loss(error)

    def _move(self, state: SessionState) -> None:
        with self._state_lock:
            if state not in _MOVES[self._state]:
                raise DeviceError(
                    f"the session with {self.transport.address} is {self._state.value}"
                    f" and cannot become {state.value}",
                    remedy="Close it first.",
                )
            self._state = state

    def _release(self, only: Registration | None = None) -> None:
        """Read no more and close the line; with `only`, if it is still read by that call."""
        with self._state_lock:
            registration = self._registration
            if only is not None and registration is not only:
                return
            self._registration = None
        if registration is not None:
            registration.cancel()
        with self.outgoing.lock:
            self.outgoing.forget()
            self.transport.close()
