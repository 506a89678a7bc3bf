"""The `hil-tap` module: tells a test process what flows on a run's streams.

A stub in the run: the test process adds it to the bench, one input for each stream. It keeps the
newest frames, so that a test may ask for pixels, and sends only what is small by itself.
"""

from __future__ import annotations

import socket
import threading
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
_SEND_TIMEOUT_SEC = 5.0
_TURN_USEC = 10_000
_DRAINED_EVERY_USEC = 20_000


class _Kept:
    """The newest frames of one stream, and the regions watched in them."""

    def __init__(self) -> None:
        self.frames: deque[tuple[int, int, NDArray[Any]]] = deque()
        self.regions: dict[int, tuple[slice, slice]] = {}
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep a copy; drop the oldest ones beyond the limit."""
        pixels = frame.view.copy()
        self.frames.append((frame.index, frame.time_usec, pixels))
        self._bytes += pixels.nbytes
        while self._bytes > _KEPT_FRAME_BYTES and len(self.frames) > 1:
            self._bytes -= self.frames.popleft()[2].nbytes


class TapModule(Module[TapSettings]):
    """Forwards items in the main thread; answers the test process in another."""

    def __init__(self, context: ModuleContext[TapSettings]) -> None:
        super().__init__(context)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sending = threading.Lock()
        self._keeping = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._items = 0
        self._empty_usec = 0
        """Master time at which nothing was on its way here."""
        self._reader = threading.Thread(target=self._answer, name="requests", daemon=True)

    def prepare(self) -> None:
        """Connect to the test process and take the streams in."""
        try:
            self._socket.connect(self.settings.socket)
        except OSError as error:
            raise ModuleError(
                f"no test process listens at {self.settings.socket}: {error.strerror}",
                remedy="hil-tap is put into a bench by the pytest plugin, not by hand.",
            ) from error
        self._socket.settimeout(None)
        takers: dict[DataType, Callable[[str, Any], None]] = {
            DataType.LineReading: self._on_reading,
            DataType.LineCommand: self._on_command,
            DataType.TableRow: self._on_row,
            DataType.Frame: self._on_frame,
        }
        for stream, port in self.context.inputs.items():
            port.on_item = partial(self._take, takers[port.data_type], stream)
            port.on_gap = partial(self._on_gap, stream)
            if port.data_type is DataType.Frame:
                self._kept[stream] = _Kept()

    def start(self) -> None:
        """Say when the run began and what the streams are."""
        clock = self.context.clock
        assert isinstance(clock, MasterClock)
        assert clock.t0_monotonic_ns is not None
        recording = self.context.run_info.recording_dir
        inputs: dict[str, InputPort] = dict(self.context.inputs)
        self._send(
            messages.Hello(
                clock.t0_monotonic_ns,
                str(recording or ""),
                {stream: encode_metadata(port.metadata) for stream, port in inputs.items()},
            )
        )
        self._reader.start()

    def run(self) -> None:
        """Serve the streams; tell, now and then, up to when all has been told."""
        told_usec = wait_usec = 0
        while self.context.running:
            before_usec, items = self.context.clock.now_usec(), self._items
            self.context.serve(wait_usec)
            wait_usec = 0 if self._items != items else _TURN_USEC
            if wait_usec:  # nothing came: what had been sent before this turn was taken before it
                self._empty_usec = before_usec
                if before_usec >= told_usec + _DRAINED_EVERY_USEC:
                    told_usec = before_usec
                    self._send(messages.Drained(before_usec))

    def close(self) -> None:
        """Hang up."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # was never connected, or the test process is gone
        if self._reader.ident is not None:
            self._reader.join(_SEND_TIMEOUT_SEC)
        self._socket.close()

    def _send(self, message: messages.FromTap) -> None:
        data = messages.pack(message)
        with self._sending:
            try:
                self._socket.sendall(data)
            except OSError:
                pass  # the test process has seen enough; the run's end is its engine's matter

    def _take(self, taker: Callable[[str, Any], None], stream: str, item: Any) -> None:
        self._items += 1
        taker(stream, item)

    def _on_reading(self, stream: str, item: LineReading) -> None:
        self._send(messages.Reading(stream, item.line_id, item.value, item.time_usec))

    def _on_command(self, stream: str, item: LineCommand) -> None:
        now, since = self.context.clock.now_usec(), self._empty_usec
        self._send(messages.Command(stream, int(item.kind), item.line_id, item.value, now, since))

    def _on_row(self, stream: str, cells: list[str]) -> None:
        now = self.context.clock.now_usec()
        self._send(messages.Row(stream, list(cells), now, self._empty_usec))

    def _on_gap(self, stream: str, lost: int) -> None:
        self._send(messages.Lost(stream, lost))

    def _on_frame(self, stream: str, frame: Frame) -> None:
        with self._keeping:
            kept = self._kept[stream]
            kept.add(frame)
            values = {number: _mean(frame.view[area]) for number, area in kept.regions.items()}
            # under the lock, so that a new region's history and its first value keep their order
            self._send(FrameSeen(stream, frame.index, frame.time_usec, values))

    def _answer(self) -> None:
        """Run the thread of requests."""
        receiver = Receiver(self._socket)
        while (request := receiver.to_tap()) is not None:
            if isinstance(request, messages.Order):
                self._carry_out(request)
                continue
            with self._keeping:
                if isinstance(request, messages.AddRegion):
                    self._send(self._add_region(request))
                else:
                    self._send(self._fetch(request))
        receiver.close()

    def _carry_out(self, order: messages.Order) -> None:
        port = self.context.outputs[drive_port(order.tester)]
        if order.level is None:
            flags = LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP
            port.submit(LineCommand(LineCommandKind.SET_MODE, order.line, flags=flags))
            return
        mode = LineCommand(LineCommandKind.SET_MODE, order.line, flags=LineModeFlags.IS_OUTPUT)
        port.submit(mode)
        kind = LineCommandKind.WRITE_DIGITAL
        port.submit(LineCommand(kind, order.line, value=int(order.level)))

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
        for index, time, pixels in reversed(frames):
            if request.index in (-1, index):
                return messages.Pixels(
                    request.request, index, time, pixels.shape, pixels.dtype.str, pixels.tobytes()
                )
        return messages.Pixels(request.request, request.index, 0, (), "", b"")


def _mean(area: NDArray[Any]) -> float:
    """Return the mean brightness, 0 for an area outside of the picture."""
    return float(np.mean(area)) if area.size else 0.0
