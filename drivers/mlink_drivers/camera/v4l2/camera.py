"""Cameras of the Linux kernel (V4L2), through OpenCV.

The kernel stamps a buffer when the camera begins or ends to send it, which Python's delays do not
touch. The stamp is used when it proves to be on CLOCK_MONOTONIC. A stamp of another steady clock
makes the moments when `grab` returned steadier, through a synchroniser; without one a frame's
time is that moment itself.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.sync import SecondaryClockSynchronizer
from mlink_drivers.camera.backend import (
    Answer,
    CameraInfo,
    CameraRequest,
    ControlValue,
    NoFrame,
    Stamp,
    in_words,
)
from mlink_drivers.camera.identity import find_camera, lasting_name
from mlink_drivers.camera.opencv import cv2, decode_into
from mlink_drivers.camera.v4l2.controls import V4L2Controls
from mlink_drivers.camera.v4l2.node import check_node, gone, opening_failed
from mlink_drivers.camera.v4l2.settings import V4L2Settings

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
_LASTING = ("usb:serial=", "usb:path=", "/dev/v4l/")
"""Addresses that find the same camera again by themselves."""
_UNCONVERTED = {"GREY": 1, "Y16 ": 2}
"""Formats that are delivered as they are, in one channel, not converted to BGR; their bytes."""


class V4L2Camera:
    """One /dev/videoN; see CameraBackend for the contract, and Adjustable."""

    def __init__(self) -> None:
        self._node = Path()
        self._capture: Any = None
        self._settings: V4L2Settings | None = None
        self._has_kernel_times = False
        self._synchronizer: SecondaryClockSynchronizer | None = None
        self._driver_ns = 0
        self._stamp_ns = 0

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the node, apply the request, and take probe frames to learn what really comes."""
        self._node = find_camera(address)
        check_node(self._node)
        self._capture = cv2.VideoCapture(str(self._node), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise opening_failed(self._node)
        # Helper threads of OpenCV would run at ordinary priority with the capture thread waiting.
        cv2.setNumThreads(1)
        self._apply(request)
        controls = tuple(self.adjust(name, wish) for name, wish in request.controls.items())
        framerate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < framerate < 1e6:
            framerate = request.framerate
        image = self._probe(framerate)
        return CameraInfo(
            shape=image.shape,
            dtype=image.dtype,
            framerate=framerate,
            timestamp_source=self._timestamp_source(),
            # Without the kernel's time a frame may have been on its way for a whole period.
            uncertainty_usec=KERNEL_UNCERTAINTY_USEC
            if self._has_kernel_times
            else round(1e6 / framerate),
            identity=address if address.startswith(_LASTING) else lasting_name(self._node),
            answers=self._answers(request, image, framerate) + controls,
        )

    def _timestamp_source(self) -> str:
        if self._has_kernel_times:
            return "v4l2-monotonic"
        return "host" if self._synchronizer is None else "v4l2-synchronised"

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a control and read it back; it may be called while the other thread grabs."""
        if self._settings is None:
            try:
                self._settings = V4L2Settings(V4L2Controls(self._node))
            except OSError as error:
                return Answer(
                    control, in_words(value), f"the node cannot be opened ({error.strerror})"
                )
        return self._settings.apply(control, value)

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

    def _probe(self, framerate: float) -> NDArray[Any]:
        """Take the first frames; decide where stamps come from; return a picture.

        No buffer can have been filled before the stream was switched on, which the first grab
        does: driver times between that moment and each grab's return are on our clock.
        """
        before_ns = time.monotonic_ns()
        deadline_ns = before_ns + round(_FIRST_FRAME_SEC * 1e9)
        taken: list[tuple[int, int]] = []
        while len(taken) < _PROBES:
            if self._capture.grab():
                taken.append((time.monotonic_ns(), self._driver_time()))
            elif time.monotonic_ns() > deadline_ns:
                raise opening_failed(self._node, silent_sec=_FIRST_FRAME_SEC)
            else:
                time.sleep(0.01)
        self._has_kernel_times = _are_ours(taken, before_ns)
        if not self._has_kernel_times and _are_steady(taken, 1e9 / framerate):
            self._synchronizer = SecondaryClockSynchronizer(f"camera {self._node}")
            self._synchronizer.set_expected_clock_frequency_hz(framerate)
        ok, image = self._capture.retrieve()
        if not ok:
            raise DeviceError(
                f"pictures of {self._node} cannot be decoded",
                remedy="Choose another pixel_format, such as YUYV or MJPG.",
            )
        return np.asarray(image)

    def _answers(
        self, request: CameraRequest, image: NDArray[Any], framerate: float
    ) -> tuple[Answer, ...]:
        """Compare what was read back with what was asked."""
        width, height = request.size
        got = image.shape[1::-1]
        answers = [
            Answer("size", f"{width}×{height}", f"{got[0]}×{got[1]}", got == (width, height)),
            Answer(
                "framerate",
                f"{request.framerate:g}",
                f"{framerate:g}",
                abs(framerate - request.framerate) <= RATE_TOLERANCE * request.framerate,
            ),
        ]
        if wanted := request.pixel_format:
            fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
            pixel_format = fourcc.decode("ascii", "replace")
            answers.append(Answer("pixel_format", wanted, pixel_format, pixel_format == wanted))
        return tuple(answers)

    def start(self) -> None:
        """Throw away frames that waited since `open`, when their stamps would not tell."""
        if self._synchronizer is not None:
            self._synchronizer.start()
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
                    remedy="Plug it in again, in a port that is not switched off to save power; "
                    'on_loss = "continue" lets a run wait for it.',
                )
            return NoFrame.TIMEOUT
        now_ns = time.monotonic_ns()
        driver_ns = self._driver_time()
        if driver_ns and driver_ns == self._driver_ns:
            return NoFrame.REPEATED
        self._driver_ns = driver_ns
        if self._has_kernel_times:
            if self._stamp_ns < driver_ns <= now_ns:
                self._stamp_ns = driver_ns
                return Stamp(driver_ns)
            return Stamp(now_ns, estimated=True)
        if self._synchronizer is None:
            return Stamp(now_ns)
        steadied_usec = self._synchronizer.process_timestamp(now_ns // 1000, driver_ns // 1000)
        return Stamp(steadied_usec * 1000)

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False when OpenCV cannot."""
        remedy = "Let no other program change this camera's format during a run."
        return decode_into(self._capture, into, str(self._node), remedy)

    def _driver_time(self) -> int:
        """Return the time of the buffer last grabbed, in ns, of whatever clock; 0: none."""
        position_msec = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return round(position_msec * 1000) * 1000  # the kernel gives whole µs

    def close(self) -> None:
        """Release the node."""
        if self._synchronizer is not None:
            self._synchronizer.stop()
            self._synchronizer = None
        if self._settings is not None:
            self._settings.close()
            self._settings = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _are_ours(taken: list[tuple[int, int]], began_ns: int) -> bool:
    """Tell whether the driver's times of (arrival, driver's time) are on CLOCK_MONOTONIC."""
    earliest_ns = began_ns - 1
    for now_ns, driver_ns in taken:
        if not earliest_ns < driver_ns <= now_ns:
            return False
        earliest_ns = driver_ns
    return True


def _are_steady(taken: list[tuple[int, int]], period_nsec: float) -> bool:
    """Tell whether the driver's times go on as ours do, but for when a frame was delivered."""
    times = [driver_ns for _, driver_ns in taken]
    if any(after <= before for before, after in pairwise([0, *times])):
        return False
    elapsed_ns = taken[-1][0] - taken[0][0]
    return abs(times[-1] - times[0] - elapsed_ns) < period_nsec / 2
