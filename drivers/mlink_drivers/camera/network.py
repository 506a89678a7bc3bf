"""Camera backend for network streams (RTSP, HTTP), through OpenCV's FFmpeg."""

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
"""A grab that was idle for this long, or half a frame period, had to wait for its frame."""
UNCERTAINTY_USEC = 500_000
"""Usual bound of the unknown delay by encoder, network and decoder."""
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LOW_DELAY = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
"""TCP, because pictures with lost packets are worse than late ones; and no buffering."""


class NetworkCamera:
    """Plays rtsp://…, http://… and https://…; see CameraBackend for the contract.

    A frame's time is that of its arrival, since streams do not carry the time of the exposure.
    """

    def __init__(self) -> None:
        self._shown = ""
        self._framerate = 0.0
        self._capture: Any = None

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Connect and decode the first picture.

        Raises:
            DeviceError: No picture came in time.
        """
        self._shown = shown_address(address)
        before = os.environ.get(_OPTIONS)
        os.environ.setdefault(_OPTIONS, _LOW_DELAY)  # the only way to set options of FFmpeg
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
                remedy="Check address, password and cables; try whether "
                f"`ffplay '{self._shown}'` plays it.",
            )
        framerate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < framerate < 1000:  # for streams without a rate FFmpeg returns its time base
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
        """Discard frames that were queued since `open`, as their arrival times would be wrong.

        The queue is empty when a grab has to wait. Processor time spent on decoding does not count
        as waiting.
        """
        waited_nsec = min(_WAITED_NSEC, round(0.5e9 / self._framerate))
        deadline_ns = time.monotonic_ns() + READ_TIMEOUT_MSEC * 1_000_000
        idle_ns = time.monotonic_ns() - time.process_time_ns()
        while time.monotonic_ns() < deadline_ns and self._capture.grab():
            before_ns, idle_ns = idle_ns, time.monotonic_ns() - time.process_time_ns()
            if idle_ns - before_ns > waited_nsec:
                return

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 1 s.

        Raises:
            DeviceError: The stream ended or timed out.
        """
        if self._capture.grab():
            return Stamp(time.monotonic_ns())
        # FFmpeg cannot resume a stream after a timeout or its end.
        raise DeviceError(
            f"{self._shown} has ended, or nothing came for {READ_TIMEOUT_MSEC / 1000:g} s",
            remedy='Check the network; on_loss = "continue" lets a run wait for it.',
        )

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False if the picture is damaged.

        Raises:
            DeviceError: The camera has changed its size.
        """
        remedy = "Do not change the camera's size during a run."
        return decode_into(self._capture, into, self._shown, remedy)

    def close(self) -> None:
        """Close the connection."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
