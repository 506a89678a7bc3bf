"""A conversation with one board: owns the transport and the reader thread.

The reader waits in poll (never on a timer), stamps each burst once, decodes it and hands every
message with the arrival time of its first byte to the listener, in its own thread.
"""

from __future__ import annotations

import enum
import logging
import os
import select
import threading
import time
from typing import Final, Protocol, Self

import msgspec

from mlink.errors import DeviceError
from mlink.realtime import IO_PRIORITY, Granted, request_priority
from mlink_drivers.firmata.link.pace import Pace
from mlink_drivers.firmata.link.transport import DeviceLostError, Transport
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.arrival import ArrivalTimes
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.handshake import REPEAT_S, BoardDescription, Handshake
from mlink_drivers.firmata.wire.protocol import Message

_JOIN_S: Final = 5.0
_log = logging.getLogger(__name__)


class SessionState(enum.Enum):
    """Where a session stands."""

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
"""A lost session may connect again: the same object lives through a pulled cable."""


class SessionListener(Protocol):
    """Who hears of a session's events; called in the reader thread, so be quick."""

    def on_message(self, message: Message, arrival_ns: int) -> None:
        """Take a message; its first byte came at `arrival_ns` on CLOCK_MONOTONIC."""
        ...

    def on_loss(self, error: DeviceError) -> None:
        """Hear, once per connection, that the board went away."""
        ...

    def on_fault(self, error: Exception) -> None:
        """Hear that `on_message` raised; the session goes on."""
        ...


class SessionStatistics(msgspec.Struct):
    """Counts of one session."""

    bytes_in: int = 0
    bytes_out: int = 0
    dropped_bytes: int = 0
    """Bytes that belonged to no message (noise, a restart)."""
    oversized: int = 0


class Session:
    """A line to a board, from connect to close; a context manager."""

    def __init__(
        self,
        transport: Transport,
        listener: SessionListener,
        *,
        name: str = "",
        handshake_timeout_s: float = 8.0,
        reset_on_close: bool = True,
    ) -> None:
        self.name = name or transport.address
        self.transport = transport
        self.decoder = Decoder()
        self.granted: Granted | None = None
        """What scheduling the reader got, once it runs."""
        self.pace: Pace | None = None
        """Set where the board's line is faster than the board."""
        self._description: BoardDescription | None = None
        self._listener = listener
        self._timeout_s = handshake_timeout_s
        self._reset_on_close = reset_on_close
        self._state = SessionState.CLOSED
        self._state_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._arrivals = ArrivalTimes(transport.baud_rate)
        self._statistics = SessionStatistics()
        self._reader: threading.Thread | None = None
        self._wake_fd = -1
        self._poll = select.poll()

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    @property
    def statistics(self) -> SessionStatistics:
        """A copy of the counts so far."""
        return msgspec.structs.replace(
            self._statistics,
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
        """Send bytes at once, from any thread; DeviceLostError when the board is gone."""
        if self._state is not SessionState.CONNECTED:
            raise DeviceLostError(
                f"{self.transport.address} is {self._state.value}",
                remedy="Connect the board before sending to it.",
            )
        try:
            self._write(data)
        except DeviceLostError as error:
            self._lose(error)
            raise

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the line's rate while connected; OSError when the port does not know it."""
        with self._write_lock:
            self.transport.set_baud_rate(baud_rate)
            self._arrivals = ArrivalTimes(baud_rate)

    def drop(self, error: DeviceError) -> None:
        """Take the board for lost, since it forgot what it was told; it can be connected again."""
        self._lose(error)

    def close(self, farewell: bytes = b"") -> None:
        """Send `farewell` and a reset if the board still listens, then give the line back.

        May be called again and from any thread, also from the listener.
        """
        with self._state_lock:
            before, self._state = self._state, SessionState.CLOSED
        if before is SessionState.CONNECTED:
            try:
                self._write(farewell + (encode.system_reset() if self._reset_on_close else b""))
            except DeviceLostError as error:
                _log.info("%s: not told of the end: %s", self.name, error.message)
        self._wake()
        if before is SessionState.CONNECTING or self._reader is threading.current_thread():
            return  # whoever connects, or the reader that called us, gives the line back itself
        self._release()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- connecting ----------------------------------------------------------------------------

    def _connect(self, transport: Transport, before: BoardDescription | None) -> BoardDescription:
        self._move(SessionState.CONNECTING)
        try:
            self.pace = None
            self._release()  # a lost connection's remains
            self.transport = transport
            self._open()
            found = self._shake_hands()
            if before is not None and not found.is_same_board(before):
                raise DeviceError(
                    f"what answers at {transport.address} is another board: {found}, not {before}",
                    remedy=f"Plug {self.name} in again.",
                )
            self._description = found
            self._move(SessionState.CONNECTED)
        except BaseException:
            with self._state_lock:
                self._state = SessionState.CLOSED
            self._release()
            raise
        # A daemon, so that a script that forgets to close can still end.
        self._reader = threading.Thread(
            target=self._read_loop, name=f"firmata-reader {self.name}", daemon=True
        )
        self._reader.start()
        return found

    def _open(self) -> None:
        self.transport.open()
        self.decoder.reset()
        self._arrivals = ArrivalTimes(self.transport.baud_rate)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.transport.fileno(), select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)

    def _shake_hands(self) -> BoardDescription:
        handshake = Handshake(self.transport.address)
        deadline = time.monotonic() + self._timeout_s
        self.transport.discard_input()
        while not handshake.complete:
            if self._state is not SessionState.CONNECTING:
                raise DeviceError(f"{self.transport.address} was closed while connecting")
            if time.monotonic() >= deadline:
                raise handshake.failure(self._timeout_s, self.transport.baud_rate)
            identified = handshake.identified
            self._write(handshake.request())
            repeat_at = min(time.monotonic() + REPEAT_S, deadline)
            while not handshake.complete and handshake.identified == identified:
                remaining_s = repeat_at - time.monotonic()
                if remaining_s <= 0 or self._state is not SessionState.CONNECTING:
                    break
                data, _ = self._wait_burst(int(remaining_s * 1000) + 1)
                handshake.hear(data)
                for message in self.decoder.feed(data):
                    handshake.take(message)
        return handshake.description()

    # -- reading -------------------------------------------------------------------------------

    def _wait_burst(self, timeout_msec: int | None) -> tuple[bytes, int]:
        """Wait for bytes; return them with their stamp, or b"" after a time-out or a wake-up."""
        events = self._poll.poll(timeout_msec)
        read_ns = time.monotonic_ns()
        if not events or any(fd == self._wake_fd for fd, _ in events):
            return b"", read_ns
        # Stamped before the read, which gives up the interpreter lock once more.
        data = self.transport.read()
        if not data and events[0][1] & ~select.POLLIN:
            raise DeviceLostError(
                f"{self.transport.address} went away (hang-up)",
                remedy="Check the cable and the board's power, then start again.",
            )
        self._statistics.bytes_in += len(data)
        return data, read_ns

    def _read_loop(self) -> None:
        self.granted = request_priority(IO_PRIORITY)
        try:
            while self._state is SessionState.CONNECTED:
                data, read_ns = self._wait_burst(None)
                if data:
                    self._hand_on(data, read_ns)
        except DeviceLostError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - no reader may die without a word
            _log.exception("%s: the reader failed", self.name)
            self._lose(
                DeviceError(
                    f"reading {self.transport.address} failed: {error!r}",
                    remedy="This is a fault of mlink; please report it with the log.",
                )
            )
        finally:
            # A gone device keeps its name (ttyACM0) as long as somebody holds it open.
            self._close_descriptors()

    def _hand_on(self, data: bytes, read_ns: int) -> None:
        arrivals = self._arrivals
        arrivals.note_burst(read_ns, len(data))
        for message in self.decoder.feed(data):
            try:
                self._listener.on_message(message, arrivals.first_byte_ns(message.offset))
            except Exception as error:  # noqa: BLE001 - a listener's fault must not end the reading
                self._listener.on_fault(error)

    # -- the rest ------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        with self._write_lock:
            if self.pace is None:
                self.transport.write(data)
            else:
                for part in self.pace.parts(data):
                    self.transport.write(part)
            self._statistics.bytes_out += len(data)

    def _lose(self, error: DeviceError) -> None:
        with self._state_lock:
            if self._state is not SessionState.CONNECTED:
                return  # closed by us, or noticed already
            self._state = SessionState.LOST
        self._wake()
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

    def _wake(self) -> None:
        with self._state_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _release(self) -> None:
        """End the reader and give back every descriptor."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.join(_JOIN_S)
            if reader.is_alive():
                _log.error("%s: the reader did not end within %g s", self.name, _JOIN_S)
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        with self._write_lock:
            self.transport.close()
        with self._state_lock:
            wake_fd, self._wake_fd = self._wake_fd, -1
            if wake_fd >= 0:
                os.close(wake_fd)
