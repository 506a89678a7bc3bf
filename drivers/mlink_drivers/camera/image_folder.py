"""Camera backend for a folder of images, played in the order of their names.

All images must have the size and type of the first one, as the stream announces one shape. A TIFF
file gives all of its pages, one after the other.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.opencv import cv2
from mlink_drivers.camera.backend import CameraInfo, CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.pacing import Pacer

_TIFF = (".tif", ".tiff")
_JPEG = (".jpg", ".jpeg")
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolderCamera:
    """Plays `images:FOLDER`; see CameraBackend for the contract.

    Picture n is due n periods of the bench's `framerate` after the start. Numbers in names are
    sorted by value: frame9.png comes before frame10.png.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._pages: list[tuple[Path, int]] = []
        """Each picture: its file and its page there."""
        self._loop = False
        self._framerate = 0.0
        self._pacer = Pacer()
        self._number = 0
        """Number of the next picture."""
        self._current = (Path(), 0)
        """The picture that was grabbed last."""

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """List the folder and read its first picture.

        Raises:
            DeviceError: There is no such folder, or no readable image in it.
        """
        self._folder = request.base_dir / (address.partition(":")[2] or address)
        if not self._folder.is_dir():
            raise DeviceError(
                f"there is no folder {self._folder}",
                remedy="Paths after 'images:' start at the folder of the bench file.",
            )
        paths = (path for path in self._folder.iterdir() if path.suffix.lower() in SUFFIXES)
        self._pages = [
            (path, page)
            for path in sorted(paths, key=_natural)
            for page in range(_page_count(path))
        ]
        if not self._pages:
            raise DeviceError(
                f"there is no image in {self._folder}",
                remedy=f"Images have names that end in {', '.join(SUFFIXES)}.",
            )
        self._loop, self._framerate = request.loop, request.framerate
        self._pacer.follow(request)
        first = _read(*self._pages[0])
        if first is None:
            raise DeviceError(
                f"{self._pages[0][0]} is not an image that can be read",
                remedy="Remove it from the folder, or replace it by an undamaged copy.",
            )
        if first.dtype not in (np.uint8, np.uint16):
            raise DeviceError(
                f"{self._pages[0][0]} has pixels of {first.dtype}; 8 and 16 bits can be sent",
                remedy="Convert the images to 8 or 16 bits first.",
            )
        return CameraInfo(
            shape=first.shape,
            dtype=first.dtype,
            framerate=request.framerate,
            timestamp_source="file",
            uncertainty_usec=0,
            finite=not self._loop,
            steady=False,
            live=request.paced,
        )

    def start(self) -> None:
        """Make the first picture due now."""
        self._pacer.start()
        self._number = 0

    def grab(self) -> Stamp | NoFrame:
        """Wait until the next picture is due, at most 1 s."""
        if self._number >= len(self._pages) and not self._loop:
            return NoFrame.END
        due = self._next()
        if (waiting := self._pacer.wait(due)) is not None:
            return waiting
        self._current = self._pages[self._number % len(self._pages)]
        self._number += 1
        return due

    def due_ns(self) -> int:
        """Return when the next picture can be grabbed."""
        return self._next().time_ns

    def _next(self) -> Stamp:
        """Return time and number of the next picture."""
        return self._pacer.stamp(round(self._number * 1e9 / self._framerate), self._number)

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Read the picture; False if it is damaged.

        Raises:
            DeviceError: It has another size or type than those before.
        """
        image = _read(*self._current)
        if image is None:
            return False
        if image.shape != into.shape or image.dtype != into.dtype:
            raise DeviceError(
                f"{self._current[0]} is {image.shape} of {image.dtype}, the pictures before it "
                f"were {into.shape} of {into.dtype}",
                remedy="Convert the images to one size and kind first.",
            )
        np.copyto(into, image)
        return True

    def close(self) -> None:
        """Drop the list of pictures."""
        self._pages = []


def _page_count(path: Path) -> int:
    """Return how many pictures a file has; 1 for one that cannot be read."""
    return max(1, cv2.imcount(str(path))) if path.suffix.lower() in _TIFF else 1


def _read(path: Path, page: int) -> NDArray[Any] | None:
    """Return a picture as grey, BGR or BGRA with the bits it has; None when it cannot be read."""
    if page:
        ok, images = cv2.imreadmulti(str(path), page, 1, flags=cv2.IMREAD_UNCHANGED)
        return np.asarray(images[0]) if ok and images else None
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread prints warnings and gives no reason
    except OSError:
        return None
    if not data.size:
        return None
    flags = cv2.IMREAD_UNCHANGED
    if path.suffix.lower() in _JPEG:  # has no alpha, and may have to be turned
        flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(data, flags)
    return None if image is None else np.asarray(image)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in a name by their value."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts]
