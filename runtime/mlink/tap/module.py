"""The tap's module: forwards what flows on a run's streams to the process that added it.

Items are sent as they come, frames without their pixels. The module keeps copies of the newest
frames, so that the subscriber can fetch single ones.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.clock import MasterClock
from mlink.errors import ModuleError
from mlink.metadata import encode_metadata
from mlink.module import InputPort, Module, ModuleContext
from mlink.peers import is_trusted
from mlink.steered_clock import SteeredClock
from mlink.tap import messages
from mlink.tap.catalog import TapSettings, drive_port
from mlink.tap.messages import FrameSeen, Receiver
from mlink.types import (
    DataType,
    Frame,
    LineCommand,
    LineCommandKind,
    LineModeFlags,
    LineReading,
)

_KEPT_FRAME_BYTES = 64 << 20
"""Most bytes of frames kept for each stream."""
_JOIN_SEC = 5.0
_WAIT_USEC = 10_000
_DRAINED_EVERY_USEC = 20_000
"""Shortest time between two `Drained` messages."""


class _Kept:
    """The newest frames of one stream, and the regions watched in them."""

    def __init__(self) -> None:
        self.frames: deque[tuple[int, int, NDArray[Any]]] = deque()
        self.regions: dict[int, tuple[slice, slice]] = {}
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep a copy; drop the oldest frames beyond 64 MB."""
        pixels = frame.view.copy()
        self.frames.append((frame.index, frame.time_usec, pixels))
        self._bytes += pixels.nbytes
        while self._bytes > _KEPT_FRAME_BYTES and len(self.frames) > 1:
            self._bytes -= self.frames.popleft()[2].nbytes


class TapModule(Module[TapSettings]):
    """Forwards items in the main thread; answers the subscriber's requests in another.

    A subscriber that has gone costs nothing: messages to it are dropped.
    """

    def __init__(self, context: ModuleContext[TapSettings]) -> None:
        super().__init__(context)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sending = threading.Lock()
        self._keeping = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._items = 0
        self._reader = threading.Thread(target=self._answer, name="requests", daemon=True)

    def prepare(self) -> None:
        """Connect to the subscriber and register for all inputs.

        Raises:
            ModuleError: Nothing listens at the socket.
        """
        try:
            self._socket.connect(self.settings.socket)
        except OSError as error:
            raise ModuleError(
                f"the tap cannot connect to {self.settings.socket}: {error.strerror}",
                remedy="The program that added the tap to the bench has ended.",
            ) from error
        if not is_trusted(self._socket):
            raise ModuleError(
                f"the program that listens at {self.settings.socket} belongs to another user",
                remedy="Start the run and its test or view as one user.",
            )
        self._socket.settimeout(None)
        handlers: dict[DataType, Callable[[str, int, Any, int], None]] = {
            DataType.LineReading: self._on_reading,
            DataType.LineCommand: self._on_command,
            DataType.TableRow: self._on_row,
            DataType.Frame: self._on_frame,
        }
        for stream, port in self.context.inputs.items():
            port.on_item = partial(self._on_item, handlers[port.data_type], port, stream)
            if port.data_type is DataType.Frame:
                self._kept[stream] = _Kept()

    def start(self) -> None:
        """Send the start of the run and the streams' metadata."""
        clock = self.context.clock
        # in virtual time the clock counts whole µs, also before the run
        t0_ns = -1000 * clock.from_monotonic_ns(0)
        if isinstance(clock, MasterClock) and clock.t0_monotonic_ns is not None:
            t0_ns = clock.t0_monotonic_ns
        elif isinstance(clock, SteeredClock):  # its zero as seen from now: the rates differ
            now_ns = time.monotonic_ns()
            t0_ns = now_ns - 1000 * clock.from_monotonic_ns(now_ns)
        recording = self.context.run_info.recording_dir
        inputs: dict[str, InputPort] = dict(self.context.inputs)
        self._send(
            messages.Hello(
                t0_ns,
                str(recording or ""),
                {stream: encode_metadata(port.metadata) for stream, port in inputs.items()},
            )
        )
        self._reader.start()

    def run(self) -> None:
        """Serve the streams until the run stops.

        After a turn of up to 10 ms without an item, but not more often than every 20 ms, it reports
        up to when all items have been forwarded.
        """
        reported_usec = wait_usec = 0
        while self.context.running:
            before_usec, items = self.context.clock.now_usec(), self._items
            self.context.serve(wait_usec)
            wait_usec = 0 if self._items != items else _WAIT_USEC
            # when nothing came, what was sent before this turn was read before it
            if wait_usec and before_usec >= reported_usec + _DRAINED_EVERY_USEC:
                reported_usec = before_usec
                self._send(self._account(before_usec))

    def drained(self) -> None:
        """Send the last account: all streams have ended, and their counts are exact."""
        self._send(self._account(self.context.clock.now_usec(), last=True))

    def close(self) -> None:
        """Close the connection and end the thread of requests."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # was never connected, or the subscriber is gone
        if self._reader.ident is not None:
            self._reader.join(_JOIN_SEC)
        self._socket.close()

    def _send(self, message: messages.FromTap) -> None:
        data = messages.pack(message)
        with self._sending:
            try:
                self._socket.sendall(data)
            except OSError:
                pass  # the subscriber is gone, which is no reason to end the run

    def _account(self, time_usec: int, *, last: bool = False) -> messages.Drained:
        ports = self.context.inputs
        taken = {stream: port.taken for stream, port in ports.items()}
        doubtful = [stream for stream, port in ports.items() if port.doubtful]
        return messages.Drained(time_usec, taken, doubtful, last)

    def _on_item(
        self,
        handler: Callable[[str, int, Any, int], None],
        port: InputPort,
        stream: str,
        item: Any,
    ) -> None:
        self._items += 1
        handler(stream, port.taken - 1, item, self._time_usec(port, item))

    def _time_usec(self, port: InputPort, item: Any) -> int:
        """Return the master time of an item that is handled: its own, or that of its sending."""
        if isinstance(item, LineReading | Frame):
            return item.time_usec
        return self.context.clock.from_monotonic_ns(port.sent_ns)

    def _on_reading(self, stream: str, seq: int, item: LineReading, time_usec: int) -> None:
        self._send(messages.Reading(stream, seq, item.line_id, item.value, time_usec))

    def _on_command(self, stream: str, seq: int, item: LineCommand, time_usec: int) -> None:
        kind = int(item.kind)
        self._send(messages.Command(stream, seq, kind, item.line_id, item.value, time_usec))

    def _on_row(self, stream: str, seq: int, cells: list[str], time_usec: int) -> None:
        self._send(messages.Row(stream, seq, list(cells), time_usec))

    def _on_frame(self, stream: str, seq: int, frame: Frame, time_usec: int) -> None:
        with self._keeping:
            kept = self._kept[stream]
            kept.add(frame)
            values = {number: _mean(frame.view[area]) for number, area in kept.regions.items()}
            # under the lock: RegionAdded, with a region's older values, is sent before newer ones
            self._send(FrameSeen(stream, seq, frame.index, time_usec, values))

    def _answer(self) -> None:
        """Run the thread of requests."""
        receiver = Receiver(self._socket)
        while (request := receiver.to_tap()) is not None:
            if isinstance(request, messages.Drive):
                self._drive(request)
                continue
            with self._keeping:
                if isinstance(request, messages.Echo):
                    now_usec = self.context.clock.now_usec()
                    self._send(messages.Echo(request.request, self._account(now_usec)))
                elif isinstance(request, messages.AddRegion):
                    self._send(self._add_region(request))
                else:
                    self._send(self._fetch(request))
        receiver.close()

    def _drive(self, request: messages.Drive) -> None:
        port = self.context.outputs[drive_port(request.board)]
        if request.level is None:
            flags = LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP
            port.submit(LineCommand(LineCommandKind.SET_MODE, request.line, flags=flags))
            return
        mode = LineCommand(LineCommandKind.SET_MODE, request.line, flags=LineModeFlags.IS_OUTPUT)
        port.submit(mode)
        kind = LineCommandKind.WRITE_DIGITAL
        port.submit(LineCommand(kind, request.line, value=int(request.level)))

    def _add_region(self, request: messages.AddRegion) -> messages.RegionAdded:
        kept = self._kept[request.stream]
        area = (
            slice(request.y, request.y + request.height),
            slice(request.x, request.x + request.width),
        )
        kept.regions[request.region] = area
        samples = [(index, time, _mean(pixels[area])) for index, time, pixels in kept.frames]
        return messages.RegionAdded(request.region, samples)

    def _fetch(self, request: messages.Fetch) -> messages.Pixels:
        frames = self._kept[request.stream].frames
        for index, usec, pixels in reversed(frames):
            if request.index in (-1, index):
                return messages.Pixels(
                    request.request, index, usec, pixels.shape, pixels.dtype.str, pixels.tobytes()
                )
        return messages.Pixels(request.request, request.index, 0, (), "", b"")


def _mean(area: NDArray[Any]) -> float:
    """Return the mean brightness, 0 for an area outside the picture."""
    return float(np.mean(area)) if area.size else 0.0
