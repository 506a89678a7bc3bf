"""Region of interest and greyscale, for every backend alike: a backend around another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraBackend, CameraInfo, CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.opencv import cv2

Region = tuple[int, int, int, int]
"""x, y, width and height in pixels."""


class FramedCamera:
    """Cuts a region out of each picture, and takes its colours away; owns the whole picture."""

    def __init__(self, inner: CameraBackend, region: Region | None, greyscale: bool) -> None:
        self.inner = inner
        self._region = region
        self._greyscale = greyscale
        self._has_color = False
        self._whole: NDArray[Any] = np.empty(0, np.uint8)
        self._part: NDArray[Any] = self._whole

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the camera and say what is left of its pictures."""
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
                    remedy="Write roi = [x, y, width, height] within the picture.",
                )
        self._has_color = info.has_color
        grey = self._greyscale and info.has_color
        return replace(info, shape=self._part.shape[:2] if grey else self._part.shape)

    def start(self) -> None:
        """Begin."""
        self.inner.start()

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame."""
        return self.inner.grab()

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode the whole picture, and put what is asked for into `into`."""
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
    """Return the backend, wrapped only when there is something to do."""
    return FramedCamera(inner, region, greyscale) if region or greyscale else inner
