"""Picture transforms. The form of a result is known before, so that its memory can be loaned."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.modules.image.catalog import TransformSettings
from mlink.opencv import cv2, eight_bits

Shape: TypeAlias = tuple[int, ...]
"""(height, width) or (height, width, channels)."""
Picture: TypeAlias = NDArray[Any]


class Transform(ABC):
    """One transform, set up for pictures of one shape and dtype.

    `shape` and `dtype` are those of the input until `prepare` replaces them by those of the result.
    """

    def __init__(
        self, settings: TransformSettings, shape: Shape, dtype: np.dtype[Any], bits: int
    ) -> None:
        self.settings = settings
        self.shape = shape
        """Of the result."""
        self.dtype = dtype
        """Of the result, as `shape`."""
        self.bits = bits
        """Bits of the pictures' values that are used."""
        self.prepare()

    def prepare(self) -> None:
        """Set `shape` and `dtype` to those of the result.

        Raises:
            ModuleError: The transform does not support these pictures.
        """

    @abstractmethod
    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        """Return the result: written to `into` if it is given, else in any memory.

        Args:
            picture: A picture of the shape and dtype of the set-up; it is not changed.
            into: Memory for the result, of shape `shape`; None lets the transform allocate it.
        """


class _Crop(Transform):
    def prepare(self) -> None:
        height, width = self.shape[:2]
        wanted = self.settings
        x, y = wanted.crop_x, wanted.crop_y
        right = x + wanted.crop_width if wanted.crop_width else width
        bottom = y + wanted.crop_height if wanted.crop_height else height
        if right > width or bottom > height or x >= right or y >= bottom:
            raise ModuleError(
                f"the crop to x {x}..{right}, y {y}..{bottom} is not in {width}×{height} pixels",
                remedy="Correct crop_x, crop_y, crop_width and crop_height.",
            )
        self._rows, self._columns = slice(y, bottom), slice(x, right)
        self.shape = (bottom - y, right - x, *self.shape[2:])

    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        part = picture[self._rows, self._columns]
        if into is None:
            return part
        np.copyto(into, part)
        return into


class _Scale(Transform):
    def prepare(self) -> None:
        height, width = self.shape[:2]
        factor = self.settings.scale_factor
        self._size = (max(1, round(width * factor)), max(1, round(height * factor)))
        # INTER_AREA averages, which avoids aliasing in smaller pictures
        self._method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        self.shape = (self._size[1], self._size[0], *self.shape[2:])

    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        return np.asarray(cv2.resize(picture, self._size, dst=into, interpolation=self._method))


class _Rotate(Transform):
    _QUARTERS = {
        90: cv2.ROTATE_90_CLOCKWISE,
        180: cv2.ROTATE_180,
        270: cv2.ROTATE_90_COUNTERCLOCKWISE,
    }

    def prepare(self) -> None:
        height, width = self.shape[:2]
        degrees = self.settings.rotation_degrees % 360
        self._quarter = self._QUARTERS.get(int(degrees)) if degrees == int(degrees) else None
        self._size = (width, height)
        self._idle = degrees == 0
        if degrees in (90, 270):
            self._size = (height, width)
        elif self._quarter is None and not self._idle:
            # OpenCV rotates counter-clockwise, about the centre of the picture.
            centre = ((width - 1) / 2, (height - 1) / 2)
            matrix = np.array(cv2.getRotationMatrix2D(centre, -degrees, 1.0), np.float64)
            cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
            grown = (math.ceil(width * cos + height * sin), math.ceil(width * sin + height * cos))
            matrix[0, 2] += (grown[0] - width) / 2
            matrix[1, 2] += (grown[1] - height) / 2
            self._size, self._matrix = grown, matrix
        self.shape = (self._size[1], self._size[0], *self.shape[2:])

    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        if self._idle:
            if into is None:
                return picture
            np.copyto(into, picture)
            return into
        if self._quarter is not None:
            return np.asarray(cv2.rotate(picture, self._quarter, dst=into))
        return np.asarray(cv2.warpAffine(picture, self._matrix, self._size, dst=into))


class _Mirror(Transform):
    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        code = 0 if self.settings.mirror_axis == "x" else 1
        return np.asarray(cv2.flip(picture, code, dst=into))


class _Greyscale(Transform):
    def prepare(self) -> None:
        self._has_color = len(self.shape) == 3 and self.shape[2] == 3
        if self._has_color:
            self.shape = self.shape[:2]

    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        if self._has_color:
            return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY, dst=into))
        if into is None:
            return picture
        np.copyto(into, picture)
        return into


class _FalseColor(Transform):
    """Maps brightness to colour: dark is blue, bright is red. The result has 8 bits."""

    def prepare(self) -> None:
        self.dtype = np.dtype(np.uint8)
        self._grey = len(self.shape) == 2 or self.shape[2] == 1
        self.shape = (*self.shape[:2], 3)

    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        picture = eight_bits(picture, self.bits)
        grey = picture if self._grey else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_JET, dst=into))


class _HistNorm(Transform):
    """Equalises the histogram of the brightness; colours do not change. The result has 8 bits."""

    def prepare(self) -> None:
        self.dtype = np.dtype(np.uint8)
        self._grey = len(self.shape) == 2 or self.shape[2] == 1

    def apply(self, picture: Picture, into: Picture | None) -> Picture:
        picture = eight_bits(picture, self.bits)
        if self._grey:
            return np.asarray(cv2.equalizeHist(picture, dst=into))
        parts = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)
        parts[:, :, 0] = cv2.equalizeHist(np.ascontiguousarray(parts[:, :, 0]))
        return np.asarray(cv2.cvtColor(parts, cv2.COLOR_YCrCb2BGR, dst=into))


_TRANSFORMS: dict[str, type[Transform]] = {
    "crop": _Crop,
    "scale": _Scale,
    "rotate": _Rotate,
    "mirror": _Mirror,
    "greyscale": _Greyscale,
    "falsecolor": _FalseColor,
    "histnorm": _HistNorm,
}


class Chain:
    """All transforms for pictures of one shape and dtype.

    Raises:
        ModuleError: A transform does not support these pictures.
    """

    def __init__(
        self, settings: list[TransformSettings], shape: Shape, dtype: np.dtype[Any], bits: int
    ) -> None:
        self._steps: list[Transform] = []
        self.shape = shape
        """Of the result."""
        self.dtype = dtype
        """Of the result."""
        for wanted in settings:
            step = _TRANSFORMS[wanted.kind](wanted, self.shape, self.dtype, bits)
            self._steps.append(step)
            self.shape, self.dtype = step.shape, step.dtype

    def apply(self, picture: Picture, into: Picture) -> None:
        """Transform a picture; the last transform writes its result to `into`."""
        for step in self._steps[:-1]:
            picture = step.apply(picture, None)
        if not self._steps:
            np.copyto(into, picture)
            return
        done = self._steps[-1].apply(picture, into)
        if done is not into:  # OpenCV returned a new array, e.g. without the channel axis
            np.copyto(into, done.reshape(into.shape))
