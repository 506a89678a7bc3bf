"""The `prism` module: splits frames into channels, combines channels, or makes frames grey."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.metadata import passed_on
from mlink.module import Module, OutputPort
from mlink.modules.image.catalog import COMBINE, GREY, PrismSettings
from mlink.opencv import cv2
from mlink.types import Frame

_PLACES: Final = {"b": 0, "g": 1, "r": 2, "a": 3}
"""Channel → its place in a picture."""
_MOST_WAITING_BYTES: Final = 512_000_000
"""Limit for one channel: inputs are served 64 items at a time, so one may be ahead of another."""


class PrismModule(Module[PrismSettings]):
    """Numbers and times of frames do not change.

    Channels are combined whose times differ by less than half a frame; the frame has the number and
    the time of the first of red, green, blue, alpha. What has no partner is counted.
    """

    _unpaired = 0

    def prepare(self) -> None:
        """Announce the metadata of the outputs, as far as that of the inputs is known."""
        self._waiting: dict[str, deque[Frame]] = {}
        for port in self.context.inputs.values():
            if not port.connected:
                continue
            if self.settings.mode == COMBINE:
                channel = port.id.removeprefix("frames-")
                self._waiting[channel] = deque()
                port.on_item = partial(self._on_channel, channel)
            else:
                port.on_item = self._on_grey if self.settings.mode == GREY else self._on_frame
        self._announce()

    def start(self) -> None:
        """Announce it again, because a script may set its metadata when it starts."""
        self._announce()

    def _announce(self) -> None:
        source = next((each for each in self.context.inputs.values() if each.connected), None)
        if source is None:
            return
        rate = source.metadata.get("framerate")
        known = isinstance(rate, int | float) and rate > 0
        self._apart_usec = 500_000 / float(rate) if known else float("inf")  # type: ignore[arg-type]
        for output in self.context.outputs.values():
            if not output.frozen:
                output.metadata.update(passed_on(source.metadata))
                output.metadata["has_color"] = self.settings.mode == COMBINE

    def _on_grey(self, frame: Frame) -> None:
        picture = frame.view
        if picture.ndim == 3:
            code = cv2.COLOR_BGRA2GRAY if picture.shape[2] == 4 else cv2.COLOR_BGR2GRAY
            picture = cv2.cvtColor(picture, code)
        self._send(self.context.outputs["frames-out"], picture, frame)

    def _on_frame(self, frame: Frame) -> None:
        picture = frame.view
        for output in self.context.outputs.values():
            place = _PLACES[output.id.removeprefix("frames-")]
            if not output.connected:
                continue
            if picture.ndim == 2:
                self._send(output, picture, frame)
            elif place < picture.shape[2]:
                self._send(output, picture[:, :, place], frame)
            else:
                raise ModuleError(
                    f"the frames have {picture.shape[2]} channels, and no alpha",
                    remedy="Set ch_a = false.",
                )

    def _on_channel(self, channel: str, frame: Frame) -> None:
        queue = self._waiting[channel]
        frame.detach()  # it may wait for long
        queue.append(frame)
        while queue[0].mat.nbytes * (len(queue) - 1) > _MOST_WAITING_BYTES:
            queue.popleft()
            self._unpaired += 1
        while all(self._waiting.values()):
            newest = max(queue[0].time_usec for queue in self._waiting.values())
            late = [
                queue
                for queue in self._waiting.values()
                if newest - queue[0].time_usec >= self._apart_usec
            ]
            for queue in late:
                queue.popleft()
                self._unpaired += 1
            if not late:
                self._combine({name: each.popleft() for name, each in self._waiting.items()})

    def _combine(self, frames: dict[str, Frame]) -> None:
        shapes = {name: each.mat.shape for name, each in frames.items()}
        first = frames[next(name for name in "rgba" if name in frames)]
        shape, dtype = first.mat.shape, first.mat.dtype
        if any(each.mat.shape != shape or each.mat.dtype != dtype for each in frames.values()):
            raise ModuleError(
                f"the channels are not alike: {shapes}", remedy="Combine grey frames of one size."
            )
        if len(shape) != 2:
            raise ModuleError(
                "the channels have colours", remedy="Combine grey frames (a prism with mode = 2)."
            )
        picture = np.zeros((*shape, 4 if "a" in frames else 3), dtype)
        for name, frame in frames.items():
            picture[:, :, _PLACES[name]] = frame.mat
        self._send(self.context.outputs["frames-out"], picture, first)

    @staticmethod
    def _send(output: OutputPort, picture: NDArray[Any], frame: Frame) -> None:
        made = np.ascontiguousarray(picture)
        output.submit(Frame.from_array(made, frame.index, frame.time_usec))

    def stop(self) -> None:
        """Report what had no partner."""
        self._unpaired += sum(map(len, self._waiting.values()))
        if self.settings.mode == COMBINE:
            self.context.report("frames_unpaired", self._unpaired)
