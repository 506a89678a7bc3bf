"""The subscriber's end of a tap: listens at a socket, and passes on what the tap reports.

Views and tests share this class; it knows nothing of either. Everything that arrives goes to
callbacks, in the order in which the tap sent it.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlink.errors import ControlError
from mlink.metadata import Metadata, decode_metadata
from mlink.peers import is_trusted
from mlink.tap import messages
from mlink.tap.account import StreamAccount
from mlink.types import Frame

Item: TypeAlias = messages.Reading | messages.Command | messages.Row | messages.FrameSeen

OnItem: TypeAlias = Callable[[Item, int], None]
"""Called with an item, and the uncertainty of its stream's times in µs."""
OnBrightness: TypeAlias = Callable[[int, float], None]
"""Called with a frame's master time in µs, and the mean brightness of a region in it."""

_ANSWER_SEC = 20.0


@dataclass(slots=True)
class _Pending:
    done: threading.Event = field(default_factory=threading.Event)
    answer: messages.Pixels | None = None


class TapLink:
    """Accepts the connection of one run's tap; `hello` is set when the run has started.

    Requests may come from any thread. Callbacks run in the link's reader thread: they must return
    quickly, and must not wait for an answer of the tap.

    Args:
        path: Where to bind the Unix socket; the tap's setting `socket` names the same path.
        on_item: Receives every reading, command, row and frame.
    """

    def __init__(self, path: Path, on_item: OnItem) -> None:
        self.hello = threading.Event()
        self.t0_ns = 0
        """Start of the run on CLOCK_MONOTONIC; valid once `hello` is set."""
        self.recording_dir: Path | None = None
        self.metadata: dict[str, Metadata] = {}
        """Stream ("module.port") → its metadata; filled before `hello` is set."""
        self.accounts: dict[str, StreamAccount] = {}
        """Stream → what of it has arrived; complete when `hello` is set."""
        self.ended = threading.Event()
        """Set when nothing can arrive any more."""
        self.complete = False
        """Whether all streams have ended, and all of them has arrived that is not lost."""
        self.broken = ""
        """Why this link does not listen any more; "" while it does."""
        self.drained_usec = 0
        """Master time up to which everything sent on the run's streams has arrived here."""
        self._on_item = on_item
        self._uncertainty: dict[str, int] = {}
        self._regions: dict[int, OnBrightness] = {}
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._read, name="tap-link", daemon=True)
        self._thread.start()

    def to_usec(self, monotonic_ns: int) -> int:
        """Return the master time of a moment on CLOCK_MONOTONIC, in µs."""
        return (monotonic_ns - self.t0_ns) // 1000

    @property
    def lost(self) -> dict[str, int]:
        """Stream → items that did not arrive here, of streams that lack some."""
        return {name: each.lost for name, each in self.accounts.items() if each.lost}

    def uncertainty_usec(self, stream: str) -> int:
        """Return the uncertainty of a stream's times: they are right within ± so many µs.

        It is `uncertainty_usec` of the stream's metadata, 0 without it.
        """
        return self._uncertainty.get(stream, 0)

    def add_region(
        self, stream: str, area: tuple[int, int, int, int], on_brightness: OnBrightness
    ) -> None:
        """Report the mean brightness of a rectangle, in each frame from the oldest one kept.

        Args:
            stream: Stream of frames, "module.port".
            area: (x, y, width, height) in pixels from the top left.
            on_brightness: Receives each frame's time and mean brightness; for the frames that the
                tap still keeps, before this method returns.

        Raises:
            ControlError: The run has not started or has ended, or the tap does not answer.
        """
        number = next(self._numbers)
        self._regions[number] = on_brightness
        self._pending[number] = pending = _Pending()
        self._send(messages.AddRegion(number, stream, *area))
        self._wait(pending, stream)

    def drive(self, board: str, line: int, level: bool | None) -> None:
        """Drive a board's line to a level, or (None) make it an input with pull-up.

        The board must be among `driven` of `mlink.tap.attach.add_tap`. Returns before the command
        takes effect.

        Raises:
            ControlError: The run has not started or has ended.
        """
        self._send(messages.Drive(board, line, level))

    def fetch(self, stream: str, index: int) -> Frame | None:
        """Return a copy of a frame by its index, or of the newest (-1); None if it is not kept.

        Raises:
            ControlError: The run has not started or has ended, or the tap does not answer.
        """
        number = next(self._numbers)
        self._pending[number] = pending = _Pending()
        self._send(messages.Fetch(number, stream, index))
        self._wait(pending, stream)
        found = pending.answer
        if found is None or not found.shape:
            return None
        pixels = np.frombuffer(found.data, np.dtype(found.dtype)).reshape(found.shape)
        return Frame.from_array(pixels.copy(), found.index, found.time_usec)

    def catch_up(self) -> None:
        """Return when all items that the tap has handled so far have arrived, or count as lost.

        Raises:
            ControlError: The run has not started or has ended, or the tap does not answer.
        """
        number = next(self._numbers)
        self._pending[number] = pending = _Pending()
        self._send(messages.Echo(number))
        self._wait(pending, "all streams")

    def close(self) -> None:
        """Close the connection and the socket; safe when the tap is gone or never connected."""
        for sock in (self._listener, self._socket):
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # not connected any more
        self._thread.join(_ANSWER_SEC)
        self._listener.close()
        if self._socket is not None:
            self._socket.close()

    def _wait(self, pending: _Pending, stream: str) -> None:
        if not pending.done.wait(_ANSWER_SEC):
            raise ControlError(
                f"the tap of this run did not answer a request on {stream} for {_ANSWER_SEC:g} s",
                remedy="The run has ended, or its machine is overloaded.",
            )

    def _send(self, message: messages.ToTap) -> None:
        if self._socket is None:
            raise ControlError("the run has not started yet, or it has ended")
        try:
            self._socket.sendall(messages.pack(message))
        except OSError as error:
            raise ControlError("the run has ended: its tap has closed the connection") from error

    def _read(self) -> None:
        """Run the reader's thread."""
        try:
            tap, _ = self._listener.accept()
            while not is_trusted(tap):
                tap.close()
                tap, _ = self._listener.accept()
            self._socket = tap
        except OSError:
            self.ended.set()
            return  # closed before the run started
        receiver = messages.Receiver(self._socket)
        try:
            while (message := receiver.from_tap()) is not None:
                self._handle(message)
        except Exception as error:  # noqa: BLE001 - expectations report it
            self.broken = f"the link to the tap of this run broke: {error!r}"
            self._socket.shutdown(socket.SHUT_RDWR)  # no reader: the tap must not wait
        finally:
            receiver.close()
            self.ended.set()

    def _handle(self, message: messages.FromTap) -> None:
        match message:
            case messages.Hello():
                self._on_hello(message)
            case messages.Drained():
                self._note_taken(message)
                self.drained_usec = message.time_usec
                self.complete = message.last
            case messages.RegionAdded():
                for _, time_usec, mean in message.samples:
                    self._regions[message.region](time_usec, mean)
                self._pending.pop(message.region).done.set()
            case messages.Echo():
                if message.account is not None:
                    self._note_taken(message.account)
                self._pending.pop(message.request).done.set()
            case messages.Pixels():
                pending = self._pending.pop(message.request)
                pending.answer = message
                pending.done.set()
            case _ if self._is_new(message):
                self._on_item(message, self.uncertainty_usec(message.stream))
                if isinstance(message, messages.FrameSeen):
                    for region, mean in message.values.items():
                        self._regions[region](message.time_usec, mean)

    def _note_taken(self, drained: messages.Drained) -> None:
        """Note how many items the tap has taken: those that have not come are lost."""
        for stream, taken in drained.taken.items():
            doubtful = stream in drained.doubtful
            self.accounts[stream].note_taken(taken, drained.time_usec, doubtful=doubtful)

    def _is_new(self, item: Item) -> bool:
        """Note an item in its stream's account; return whether it is to be passed on."""
        bound_usec = self.uncertainty_usec(item.stream)
        account = self.accounts[item.stream]
        return account.note(item.seq, item.time_usec - bound_usec, item.time_usec + bound_usec)

    def _on_hello(self, message: messages.Hello) -> None:
        self.t0_ns = message.t0_ns
        self.recording_dir = Path(message.recording_dir) if message.recording_dir else None
        for stream, packed in message.metadata.items():
            metadata = decode_metadata(packed)
            self.metadata[stream] = metadata
            self.accounts[stream] = StreamAccount(stream)
            uncertainty = metadata.get("uncertainty_usec", 0)
            if isinstance(uncertainty, int | float):
                self._uncertainty[stream] = round(uncertainty)
        self.hello.set()
