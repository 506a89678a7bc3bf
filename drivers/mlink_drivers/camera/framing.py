"""Region of interest and greyscale: a backend that wraps another one.

Backends thus deliver whole pictures only, and need to know nothing of either setting.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2
from mlink_drivers.camera.backend import (
    CameraBackend,
    CameraInfo,
    CameraRequest,
    NoFrame,
    PacedCamera,
    Stamp,
)

Region = tuple[int, int, int, int]
"""x, y, width and height in pixels."""


class FramedCamera:
    """Crops each picture to a region, or converts it to grey, or both.

    It owns memory for one whole picture, into which the wrapped backend decodes.

    Args:
        inner: The wrapped backend.
        region: Part to keep: x, y, width and height in pixels; None: the whole picture.
        greyscale: Whether colour pictures are converted to grey.
    """

    def __init__(self, inner: CameraBackend, region: Region | None, greyscale: bool) -> None:
        self.inner = inner
        self._region = region
        self._greyscale = greyscale
        self._has_color = False
        self._whole: NDArray[Any] = np.empty(0, np.uint8)
        self._part: NDArray[Any] = self._whole

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the camera; return what it delivers after cropping and conversion.

        Raises:
            DeviceError: The region is not within the pictures, or the camera cannot be opened.
        """
        info = self.inner.open(address, request)
        self._whole = np.empty(info.shape, info.dtype)
        self._part = self._whole
        if self._region is not None:
            x, y, width, height = self._region
            self._part = self._whole[y : y + height, x : x + width]
            if self._part.shape[:2] != (height, width):
                got = "×".join(str(n) for n in info.size)
                raise DeviceError(
                    f"the region of interest {list(self._region)} is not within the {got} pixels "
                    f"of {address}",
                    remedy="Set roi = [x, y, width, height] within the picture.",
                )
        self._has_color = info.has_color
        grey = self._greyscale and info.has_color
        return replace(info, shape=self._part.shape[:2] if grey else self._part.shape)

    def start(self) -> None:
        """Start the wrapped backend."""
        self.inner.start()

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame of the wrapped backend."""
        return self.inner.grab()

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode the whole picture, and write the cropped or grey one to `into`."""
        if not self.inner.retrieve(self._whole):
            return False
        if self._greyscale and self._has_color:
            cv2.cvtColor(self._part, cv2.COLOR_BGR2GRAY, dst=into)
        else:
            np.copyto(into, self._part)
        return True

    def close(self) -> None:
        """Close the camera."""
        self.inner.close()


def framed(inner: CameraBackend, region: Region | None, greyscale: bool) -> CameraBackend:
    """Return the backend, wrapped if a region or greyscale is requested."""
    return FramedCamera(inner, region, greyscale) if region or greyscale else inner


def paced(backend: CameraBackend) -> PacedCamera | None:
    """Return the source behind a backend, if it knows when its frames are due."""
    source = source_of(backend)
    return source if isinstance(source, PacedCamera) else None


def source_of(backend: CameraBackend) -> CameraBackend:
    """Return the backend that `framed` has wrapped, or the backend itself."""
    return backend.inner if isinstance(backend, FramedCamera) else backend
