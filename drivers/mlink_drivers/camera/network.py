"""Cameras of the network: RTSP and HTTP addresses, through OpenCV's FFmpeg."""

from __future__ import annotations

import os
import time
from typing import Any

from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import (
    CameraInfo,
    CameraRequest,
    NoFrame,
    Stamp,
    shown_address,
)
from mlink_drivers.camera.opencv import cv2, decode_into

OPEN_TIMEOUT_MSEC = 5000
READ_TIMEOUT_MSEC = 1000
_WAITED_NSEC = 10_000_000
"""A grab that was idle for so long, or half a period, had to wait for its frame."""
UNCERTAINTY_USEC = 500_000
"""Encoder, network and decoder hold a frame for an unknown while: usually less than this."""
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LOW_DELAY = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
"""TCP, since pictures with lost packets are worse than late ones; and no waiting for more."""


class NetworkCamera:
    """Plays rtsp://…, http://… and https://…; see CameraBackend for the contract.

    A frame's time is the moment of its arrival: no stream says when its camera took a picture.
    """

    def __init__(self) -> None:
        self._shown = ""
        self._framerate = 0.0
        self._capture: Any = None

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Connect and decode the first picture."""
        self._shown = shown_address(address)
        before = os.environ.get(_OPTIONS)
        os.environ.setdefault(_OPTIONS, _LOW_DELAY)  # FFmpeg's own options go this way only
        try:
            self._capture = cv2.VideoCapture(
                address,
                cv2.CAP_FFMPEG,
                [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MSEC,
                 cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MSEC],
            )  # fmt: skip
        finally:
            if before is None:
                os.environ.pop(_OPTIONS, None)
        ok, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or image is None:
            raise DeviceError(
                f"no picture came from {self._shown} within {OPEN_TIMEOUT_MSEC / 1000:g} s",
                remedy=f"See whether `ffplay '{self._shown}'` plays it: address, password, cables.",
            )
        framerate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < framerate < 1000:  # streams without a rate are given FFmpeg's time base
            framerate = request.framerate
        self._framerate = framerate
        return CameraInfo(
            shape=image.shape,
            dtype=image.dtype,
            framerate=framerate,
            timestamp_source="arrival",
            uncertainty_usec=UNCERTAINTY_USEC,
            steady=False,
        )

    def start(self) -> None:
        """Throw away what has gathered on the way since `open`: its arrival would seem late.

        A frame that had to be waited for is the newest there is; decoding is no waiting.
        """
        waited_nsec = min(_WAITED_NSEC, round(0.5e9 / self._framerate))
        deadline_ns = time.monotonic_ns() + READ_TIMEOUT_MSEC * 1_000_000
        idle_ns = time.monotonic_ns() - time.process_time_ns()
        while time.monotonic_ns() < deadline_ns and self._capture.grab():
            before_ns, idle_ns = idle_ns, time.monotonic_ns() - time.process_time_ns()
            if idle_ns - before_ns > waited_nsec:
                return

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 1 s."""
        if self._capture.grab():
            return Stamp(time.monotonic_ns())
        # FFmpeg does not take up a stream again after a time-out or its end.
        raise DeviceError(
            f"{self._shown} has ended, or nothing came for {READ_TIMEOUT_MSEC / 1000:g} s",
            remedy='Check the network; on_loss = "continue" lets a run wait for it.',
        )

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False when the picture is damaged."""
        remedy = "Let the camera keep one size during a run."
        return decode_into(self._capture, into, self._shown, remedy)

    def close(self) -> None:
        """Hang up."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
