"""Camera backend for video files, whose frames are paced by their own times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraInfo, CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.opencv import cv2, decode_into
from mlink_drivers.camera.pacing import Pacer

_DEFAULT_RATE = 30.0


class VideoFileCamera:
    """Plays `file:PATH`; see CameraBackend for the contract.

    A frame's time is the start of the run plus its time in the file, even if it is read as fast as
    possible (`paced = false`), so that a clip has the same times in each run. Times that are
    missing or go back in the file are replaced by one frame period after the frame before.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._capture: Any = None
        self._loop = False
        self._pacer = Pacer()
        self._period_nsec = 0
        self._pass_ns = 0
        """Begin of the current pass through the file, in ns from the start."""
        self._first_ns: int | None = None
        """Time in the file of this pass's first frame, in ns."""
        self._last_ns = -1
        """Time of the newest frame, in ns from the start."""
        self._index = -1
        self._due: Stamp | None = None
        """A frame that is grabbed but not due yet."""

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the file and decode its first picture.

        Raises:
            DeviceError: The file does not exist, or is not a readable video.
        """
        name = address.partition(":")[2] or address
        self._path = request.base_dir / name
        if not self._path.is_file():
            raise DeviceError(
                f"there is no video file {self._path}",
                remedy=f"For a folder of images use 'images:{name}'."
                if self._path.is_dir()
                else "Paths after 'file:' start at the folder of the bench file.",
            )
        self._loop = request.loop
        self._pacer.follow(request)
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        ok, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or image is None:
            raise DeviceError(
                f"{self._path} is not a video that can be read, or is damaged",
                remedy=f"Check it with `ffprobe '{self._path}'`.",
            )
        framerate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < framerate < 1e6:
            framerate = _DEFAULT_RATE
        self._period_nsec = round(1e9 / framerate)
        self._rewind()
        return CameraInfo(
            shape=image.shape,
            dtype=image.dtype,
            framerate=framerate,
            timestamp_source="file",
            uncertainty_usec=0,
            finite=not self._loop,
            steady=False,
            live=request.paced,
        )

    def start(self) -> None:
        """Make the file's first frame due now."""
        self._pacer.start()

    def grab(self) -> Stamp | NoFrame:
        """Read the next frame and wait until it is due, at most 1 s.

        Raises:
            DeviceError: A file that loops cannot be read again.
        """
        if self._due is None:
            self._due = self._next()
            if self._due is None:
                return NoFrame.END
        if (waiting := self._pacer.wait(self._due)) is not None:
            return waiting
        due, self._due = self._due, None
        return due

    def due_ns(self) -> int:
        """Return when the next frame can be grabbed; now at the end of the file.

        Raises:
            DeviceError: A file that loops cannot be read again.
        """
        if self._due is None:
            self._due = self._next()
        return self._due.time_ns if self._due is not None else self._pacer.now_ns()

    def _next(self) -> Stamp | None:
        """Read the next frame; None at the end of a file that does not loop."""
        if not self._capture.grab():
            if not self._loop:
                return None
            self._pass_ns = self._last_ns + self._period_nsec
            self._rewind()
            if not self._capture.grab():
                raise DeviceError(
                    f"{self._path} could be read once but not again",
                    remedy="Check that the file is still there, and its disk.",
                )
        file_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if self._first_ns is None:
            self._first_ns = file_ns
        time_ns = self._pass_ns + file_ns - self._first_ns
        if time_ns <= self._last_ns:
            time_ns = self._last_ns + self._period_nsec
        self._last_ns = time_ns
        self._index += 1
        return self._pacer.stamp(time_ns, self._index)

    def _rewind(self) -> None:
        """Go back to the first frame."""
        # Opened again, because seeking to frame 0 is inexact in files without an index.
        self._capture.release()
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        self._first_ns = None

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False if the picture is damaged.

        Raises:
            DeviceError: The picture has another size than the first one.
        """
        remedy = "Convert the file to one size first."
        return decode_into(self._capture, into, str(self._path), remedy)

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
