"""Cameras of the Linux kernel (V4L2), through OpenCV.

The kernel stamps a buffer when the camera begins or ends to send it, which Python's delays do not
touch. The stamp is used when it proves to be on CLOCK_MONOTONIC; else a frame's time is the
moment when `grab` returned.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import (
    CameraInfo,
    CameraRequest,
    Difference,
    NoFrame,
    Stamp,
)
from mlink_drivers.camera.opencv import cv2
from mlink_drivers.camera.v4l2_node import check_node, gone, opening_failed

KERNEL_UNCERTAINTY_USEC = 1000
"""The kernel stamps in an interrupt; USB brings a frame's first bytes within 1 ms."""
RATE_TOLERANCE = 0.05
_FIRST_FRAME_SEC = 5.0
"""A camera that wakes up may take seconds for its first picture."""
_PROBES = 3
_BUFFERS = 4
"""OpenCV queues so many; that many frames may be older than the start."""
_QUEUED_SEC = 0.002
"""A grab that returns sooner took a frame that was waiting."""
_UNCONVERTED = {"GREY": 1, "Y16 ": 2}
"""Formats that are delivered as they are, in one channel, not converted to BGR; their bytes."""


class V4L2Camera:
    """One /dev/videoN; see CameraBackend for the contract."""

    def __init__(self) -> None:
        self._node = Path()
        self._capture: Any = None
        self._has_kernel_times = False
        self._driver_ns = 0
        self._stamp_ns = 0

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the node, apply the request, and take probe frames to learn what really comes."""
        self._node = Path(address)
        check_node(self._node)
        self._capture = cv2.VideoCapture(address, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise opening_failed(self._node)
        # Helper threads of OpenCV would run at ordinary priority with the capture thread waiting.
        cv2.setNumThreads(1)
        self._apply(request)
        image = self._probe()
        framerate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < framerate < 1e6:
            framerate = request.framerate
        return CameraInfo(
            shape=image.shape,
            dtype=image.dtype,
            framerate=framerate,
            timestamp_source="v4l2-monotonic" if self._has_kernel_times else "host",
            # Without the kernel's time a frame may have been on its way for a whole period.
            uncertainty_usec=KERNEL_UNCERTAINTY_USEC
            if self._has_kernel_times
            else round(1e6 / framerate),
            differences=self._differences(request, image, framerate),
        )

    def _apply(self, request: CameraRequest) -> None:
        """Set format and size before the rate: which rates exist depends on them."""
        if request.pixel_format:
            fourcc = cv2.VideoWriter.fourcc(*request.pixel_format)
            self._capture.set(cv2.CAP_PROP_FOURCC, fourcc)
            if request.pixel_format in _UNCONVERTED:
                self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.size[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.size[1])
        self._capture.set(cv2.CAP_PROP_FPS, request.framerate)

    def _probe(self) -> NDArray[Any]:
        """Take the first frames; decide where stamps come from; return a picture.

        No buffer can have been filled before the stream was switched on, which the first grab
        does: driver times between that moment and each grab's return are on our clock.
        """
        before_ns = time.monotonic_ns()
        deadline_ns = before_ns + round(_FIRST_FRAME_SEC * 1e9)
        last_ns = before_ns - 1
        times_are_ours = True
        taken = 0
        while taken < _PROBES:
            if self._capture.grab():
                now_ns = time.monotonic_ns()
                driver_ns = self._driver_time()
                times_are_ours = times_are_ours and last_ns < driver_ns <= now_ns
                last_ns = driver_ns
                taken += 1
            elif time.monotonic_ns() > deadline_ns:
                raise opening_failed(self._node, silent_sec=_FIRST_FRAME_SEC)
            else:
                time.sleep(0.01)
        self._has_kernel_times = times_are_ours
        ok, image = self._capture.retrieve()
        if not ok:
            raise DeviceError(
                f"pictures of {self._node} cannot be decoded",
                remedy="Choose another pixel_format, such as YUYV or MJPG.",
            )
        return np.asarray(image)

    def _differences(
        self, request: CameraRequest, image: NDArray[Any], framerate: float
    ) -> tuple[Difference, ...]:
        """Compare what was read back with what was asked."""
        found = []
        width, height = request.size
        if (got := image.shape[1::-1]) != (width, height):
            found.append(Difference("size", f"{width}×{height}", f"{got[0]}×{got[1]}"))
        if abs(framerate - request.framerate) > RATE_TOLERANCE * request.framerate:
            found.append(Difference("framerate", f"{request.framerate:g}", f"{framerate:g}"))
        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
        pixel_format = fourcc.decode("ascii", "replace")
        if request.pixel_format and pixel_format != request.pixel_format:
            found.append(Difference("pixel_format", request.pixel_format, pixel_format))
        return tuple(found)

    def start(self) -> None:
        """Throw away frames that waited since `open`, when their stamps would not tell."""
        if self._has_kernel_times:
            return
        for _ in range(_BUFFERS):
            before_ns = time.monotonic_ns()
            if not self._capture.grab() or time.monotonic_ns() - before_ns > _QUEUED_SEC * 1e9:
                return

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 1 s (OpenCV's select time-out)."""
        if not self._capture.grab():
            if gone(self._node):
                raise DeviceError(
                    f"the camera {self._node} went away during the run",
                    remedy="Plug it in again, in a port that is not switched off to save power.",
                )
            return NoFrame.TIMEOUT
        now_ns = time.monotonic_ns()
        driver_ns = self._driver_time()
        if driver_ns and driver_ns == self._driver_ns:
            return NoFrame.REPEATED
        self._driver_ns = driver_ns
        if not self._has_kernel_times:
            return Stamp(now_ns)
        if self._stamp_ns < driver_ns <= now_ns:
            self._stamp_ns = driver_ns
            return Stamp(driver_ns)
        return Stamp(now_ns, estimated=True)

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False when OpenCV cannot."""
        ok, image = self._capture.retrieve(into)
        if not ok:
            return False
        if image is not into:  # another shape or layout: OpenCV made an array of its own
            if image.shape != into.shape:
                raise DeviceError(
                    f"{self._node} changed its pictures from {into.shape} to {image.shape}",
                    remedy="Let no other program change this camera's format during a run.",
                )
            np.copyto(into, image)
        return True

    def _driver_time(self) -> int:
        """Return the time of the buffer last grabbed, in ns, of whatever clock; 0: none."""
        position_msec = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return round(position_msec * 1000) * 1000  # the kernel gives whole µs

    def close(self) -> None:
        """Release the node."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
