"""The test process's end of a tap: turns its messages into events of the history."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlink.errors import ControlError
from mlink.metadata import Metadata, decode_metadata
from mlink.tap import messages
from mlink.types import Frame
from mlink_hil.testing.events import Event
from mlink_hil.testing.history import History

_ANSWER_SEC = 5.0


@dataclass(slots=True)
class Region:
    """A watched rectangle of a camera's pictures, and what the last picture showed there."""

    channel: str
    stream: str
    last: tuple[int, float] | None = None
    """(time in µs, mean brightness)"""


@dataclass(slots=True)
class _Pending:
    done: threading.Event = field(default_factory=threading.Event)
    answer: messages.Pixels | None = None


class TapLink:
    """Listens at a socket for one run's tap; `hello` is set when the run has started."""

    def __init__(self, path: Path, history: History) -> None:
        self.hello = threading.Event()
        self.t0_ns = 0
        self.recording_dir: Path | None = None
        self.metadata: dict[str, Metadata] = {}
        self.lost: dict[str, int] = {}
        self.drained_usec = 0
        """Master time up to which all that was sent on the run's streams has been noted."""
        self._history = history
        self._uncertainty: dict[str, int] = {}
        self._regions: dict[int, Region] = {}
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._read, name="hil-tap", daemon=True)
        self._thread.start()

    def uncertainty_usec(self, stream: str) -> int:
        """Return how wrong a stream's times may be, in µs, as its metadata say."""
        return self._uncertainty.get(stream, 0)

    def add_region(self, stream: str, area: tuple[int, int, int, int], channel: str) -> None:
        """Let the tap tell the mean brightness of (x, y, width, height) in each frame."""
        number = next(self._numbers)
        self._regions[number] = Region(channel, stream)
        self._pending[number] = pending = _Pending()
        self._send(messages.AddRegion(number, stream, *area))
        self._wait(pending, stream)

    def order(self, tester: str, line: int, level: bool | None) -> None:
        """Drive a tester's line to a level, or (None) make it an input with pull-up."""
        self._send(messages.Order(tester, line, level))

    def fetch(self, stream: str, index: int) -> Frame | None:
        """Return a frame that the tap still keeps, or the newest (-1)."""
        number = next(self._numbers)
        self._pending[number] = pending = _Pending()
        self._send(messages.Fetch(number, stream, index))
        self._wait(pending, stream)
        found = pending.answer
        if found is None or not found.shape:
            return None
        pixels = np.frombuffer(found.data, np.dtype(found.dtype)).reshape(found.shape)
        return Frame.from_array(pixels.copy(), found.index, found.time_usec)

    def close(self) -> None:
        """Hang up; the tap may be gone already."""
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
                f"the tap of this run does not answer for {stream}",
                remedy="The run has ended, or its machine is overloaded.",
            )

    def _send(self, message: messages.ToTap) -> None:
        if self._socket is None:
            raise ControlError("the run has not started yet, or it has ended")
        try:
            self._socket.sendall(messages.pack(message))
        except OSError as error:
            raise ControlError("the run has ended: its tap is gone") from error

    def _read(self) -> None:
        """Run the reader's thread."""
        try:
            self._socket, _ = self._listener.accept()
        except OSError:
            return  # closed before the run got that far
        receiver = messages.Receiver(self._socket)
        while (message := receiver.from_tap()) is not None:
            self._take(message)
        receiver.close()

    def _take(self, message: messages.FromTap) -> None:
        match message:
            case messages.Hello():
                self._on_hello(message)
            case messages.Reading():
                channel = f"{message.stream}.{message.line}"
                self._add(channel, message.stream, message.time_usec, message.value)
            case messages.Command():
                channel = f"{message.stream}.{message.line}"
                early_usec = message.time_usec - message.since_usec
                self._add(channel, message.stream, message.time_usec, message.value, early_usec)
            case messages.Row():
                early_usec = message.time_usec - message.since_usec
                event = Event(
                    message.stream,
                    message.time_usec,
                    early_usec=early_usec,
                    cells=tuple(message.cells),
                )
                self._history.add([event])
            case messages.FrameSeen():
                self._on_frame(message)
            case messages.Lost():
                self.lost[message.stream] = self.lost.get(message.stream, 0) + message.count
            case messages.Drained():
                self.drained_usec = message.time_usec
            case messages.RegionAdded():
                for _, time_usec, mean in message.samples:
                    self._on_sample(message.region, time_usec, mean)
                self._pending.pop(message.region).done.set()
            case messages.Pixels():
                pending = self._pending.pop(message.request)
                pending.answer = message
                pending.done.set()

    def _on_hello(self, message: messages.Hello) -> None:
        self.t0_ns = message.t0_ns
        self.recording_dir = Path(message.recording_dir) if message.recording_dir else None
        for stream, packed in message.metadata.items():
            metadata = decode_metadata(packed)
            self.metadata[stream] = metadata
            uncertainty = metadata.get("uncertainty_usec", 0)
            if isinstance(uncertainty, int | float):
                self._uncertainty[stream] = round(uncertainty)
        self.hello.set()

    def _add(
        self, channel: str, stream: str, time_usec: int, value: float, early_usec: int = 0
    ) -> None:
        last = self._history.last(channel)
        bound = self.uncertainty_usec(stream)
        event = Event(
            channel,
            time_usec,
            value,
            bound + early_usec,
            bound,
            previous=None if last is None else last.value,
            noted_ns=time.monotonic_ns(),
        )
        self._history.add([event])

    def _on_frame(self, message: messages.FrameSeen) -> None:
        self._add(message.stream, message.stream, message.time_usec, message.index)
        for region, mean in message.values.items():
            self._on_sample(region, message.time_usec, mean)

    def _on_sample(self, number: int, time_usec: int, mean: float) -> None:
        """Note a region's brightness: what it shows began at any time since the last picture."""
        region = self._regions[number]
        bound = self.uncertainty_usec(region.stream)
        if region.last is None:
            early, previous = bound, None
        else:
            early, previous = time_usec - region.last[0] + bound, region.last[1]
        region.last = (time_usec, mean)
        event = Event(
            region.channel,
            time_usec,
            mean,
            early,
            bound,
            previous=previous,
            noted_ns=time.monotonic_ns(),
        )
        self._history.add([event])
