"""Camera backend for V4L2 devices, through OpenCV; frame_times.py has the times of its frames."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import (
    Answer,
    CameraInfo,
    CameraRequest,
    ControlValue,
    NoFrame,
    Stamp,
    in_words,
)
from mlink_drivers.camera.opencv import cv2, decode_into
from mlink_drivers.camera.v4l2.controls import V4L2Controls
from mlink_drivers.camera.v4l2.frame_times import FrameTimes
from mlink_drivers.camera.v4l2.identity import find_camera, lasting_name
from mlink_drivers.camera.v4l2.node import check_node, gone, opening_failed
from mlink_drivers.camera.v4l2.settings import V4L2Settings

RATE_TOLERANCE = 0.05
_FIRST_FRAME_SEC = 5.0
"""A camera that wakes up may need seconds for its first picture."""
_PROBES = 3
_BUFFERS = 4
"""Length of OpenCV's queue; this many frames may be older than the start."""
_QUEUED_SEC = 0.002
"""A grab that returns faster than this took a frame from the queue."""
_LASTING = ("usb:serial=", "usb:path=", "/dev/v4l/")
"""Beginnings of addresses that find the same camera again after it was unplugged."""
_UNCONVERTED = ("GREY", "Y16 ")
"""Pixel formats that are delivered unchanged in one channel, instead of converted to BGR."""


class V4L2Camera:
    """One /dev/videoN; implements CameraBackend and Adjustable.

    OpenCV converts pictures to BGR, but for GREY and Y16, which it delivers in one channel.
    """

    def __init__(self) -> None:
        self._node = Path()
        self._capture: Any = None
        self._settings: V4L2Settings | None = None
        self._times: FrameTimes | None = None

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the node, apply the request, and grab a few frames to see what is delivered.

        Raises:
            DeviceError: The node is absent, busy, silent or not permitted.
        """
        self._node = find_camera(address)
        check_node(self._node)
        self._capture = cv2.VideoCapture(str(self._node), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise opening_failed(self._node)
        # The capture thread would wait for OpenCV's helper threads, which run at normal priority.
        cv2.setNumThreads(1)
        self._apply(request)
        controls = tuple(self.adjust(name, wish) for name, wish in request.controls.items())
        framerate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < framerate < 1e6:
            framerate = request.framerate
        self._times, image = self._probe(framerate)
        return CameraInfo(
            shape=image.shape,
            dtype=image.dtype,
            framerate=framerate,
            timestamp_source=self._times.source,
            uncertainty_usec=self._times.uncertainty_usec,
            identity=address if address.startswith(_LASTING) else lasting_name(self._node),
            answers=self._answers(request, image, framerate) + controls,
        )

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a control and read it back; may be called while another thread grabs."""
        if self._settings is None:
            try:
                self._settings = V4L2Settings(V4L2Controls(self._node))
            except OSError as error:
                return Answer(
                    control, in_words(value), f"the node cannot be opened ({error.strerror})"
                )
        return self._settings.apply(control, value)

    def _apply(self, request: CameraRequest) -> None:
        """Set format and size, then the rate, since the available rates depend on them."""
        if request.pixel_format:
            fourcc = cv2.VideoWriter.fourcc(*request.pixel_format)
            self._capture.set(cv2.CAP_PROP_FOURCC, fourcc)
            if request.pixel_format in _UNCONVERTED:
                self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.size[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.size[1])
        self._capture.set(cv2.CAP_PROP_FPS, request.framerate)

    def _probe(self, framerate: float) -> tuple[FrameTimes, NDArray[Any]]:
        """Grab the first frames; return how their times are determined, and a picture.

        The first grab switches the stream on, and no buffer can be filled before that. Driver times
        between that moment and the return of each grab are therefore on CLOCK_MONOTONIC.
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
        ok, image = self._capture.retrieve()
        if not ok:
            raise DeviceError(
                f"pictures of {self._node} cannot be decoded",
                remedy="Choose another pixel_format, such as YUYV or MJPG.",
            )
        times = FrameTimes(f"camera {self._node}", taken, before_ns, framerate)
        return times, np.asarray(image)

    def _answers(
        self, request: CameraRequest, image: NDArray[Any], framerate: float
    ) -> tuple[Answer, ...]:
        """Return the values read back, compared with the requested ones."""
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
        """Discard frames that were queued since `open`, unless their stamps show their age.

        A grab that has to wait shows that the queue is empty.
        """
        assert self._times is not None
        self._times.start()
        if self._times.is_kernel_time:
            return
        for _ in range(_BUFFERS):
            before_ns = time.monotonic_ns()
            if not self._capture.grab() or time.monotonic_ns() - before_ns > _QUEUED_SEC * 1e9:
                return

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 1 s (OpenCV's select timeout).

        Raises:
            DeviceError: The camera was unplugged.
        """
        if not self._capture.grab():
            if gone(self._node):
                raise DeviceError(
                    f"the camera {self._node} went away during the run",
                    remedy="Plug it in again, at a port without power saving; "
                    'on_loss = "continue" lets a run wait for it.',
                )
            return NoFrame.TIMEOUT
        now_ns = time.monotonic_ns()
        assert self._times is not None
        return self._times.stamp(now_ns, self._driver_time())

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False if OpenCV cannot decode the picture.

        Raises:
            DeviceError: Another program has changed the camera's format.
        """
        remedy = "No other program may change this camera's format during a run."
        return decode_into(self._capture, into, str(self._node), remedy)

    def _driver_time(self) -> int:
        """Return the driver's time of the buffer grabbed last, in ns of any clock; 0: none."""
        position_msec = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return round(position_msec * 1000) * 1000  # the kernel's times are whole µs

    def close(self) -> None:
        """Release the node."""
        if self._times is not None:
            self._times.stop()
            self._times = None
        if self._settings is not None:
            self._settings.close()
            self._settings = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None
