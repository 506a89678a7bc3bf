"""The `videotransform` module: transforms frames; their numbers and times do not change."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlink.errors import ModuleError
from mlink.metadata import MetaSize, bits_of, passed_on
from mlink.module import Module
from mlink.modules.image.catalog import VideoTransformSettings
from mlink.modules.image.transforms import Chain
from mlink.types import Frame


class VideoTransformModule(Module[VideoTransformSettings]):
    """Transforms each frame when it arrives.

    The result is written directly into memory loaned from the output. The transforms are set up
    again when the shape of the frames changes.
    """

    _chain: Chain | None = None
    _source: tuple[tuple[int, ...], np.dtype[Any]] = ((), np.dtype(np.uint8))

    def prepare(self) -> None:
        """Announce the metadata of the output, as far as that of the input is known."""
        self._input = self.context.inputs["frames-in"]
        self._output = self.context.outputs["frames-out"]
        self._input.on_item = self._on_frame
        if self._input.connected:
            self._announce()

    def start(self) -> None:
        """Announce it again, because a script may set its metadata when it starts."""
        if self._input.connected and not self._output.frozen:
            self._announce()

    def _announce(self) -> None:
        metadata = self._input.metadata
        self._output.metadata.update(passed_on(metadata))
        size = metadata.get("size")
        if isinstance(size, MetaSize) and size.width > 0 and size.height > 0:
            grey = metadata.get("has_color") is False
            shape = (size.height, size.width) if grey else (size.height, size.width, 3)
            dtype = np.dtype(np.uint16 if "bits" in metadata else np.uint8)
            chain = Chain(self.settings.video_transform, shape, dtype, bits_of(metadata, 2))
            result = chain.shape
            self._output.metadata["size"] = MetaSize(result[1], result[0])
            self._output.metadata["has_color"] = len(result) == 3 and result[2] > 1
            if chain.dtype == np.uint8:
                self._output.metadata.pop("bits", None)

    def _on_frame(self, frame: Frame) -> None:
        picture = frame.view
        if self._chain is None or (picture.shape, picture.dtype) != self._source:
            self._check_size(picture.shape)
            bits = bits_of(self._input.metadata, picture.itemsize)
            self._chain = Chain(self.settings.video_transform, picture.shape, picture.dtype, bits)
            self._source = (picture.shape, picture.dtype)
        if not self._output.connected:
            return
        loan = self._output.loan_frame(self._chain.shape, self._chain.dtype)
        try:
            self._chain.apply(picture, loan.array)
        except BaseException:
            loan.discard()
            raise
        loan.send(index=frame.index, time_usec=frame.time_usec)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        announced = self._input.metadata.get("size")
        if isinstance(announced, MetaSize) and tuple(announced) != (shape[1], shape[0]):
            raise ModuleError(
                f"a frame is {shape[1]}×{shape[0]}, but its source announced "
                f"{announced.width}×{announced.height}",
                remedy="Set the stream's `size` to what is sent, or send frames of that size.",
            )
