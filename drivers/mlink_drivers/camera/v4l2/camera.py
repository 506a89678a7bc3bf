"""Camera backend for V4L2 devices: opens a node, sets it up, and takes its frames.

stream.py has the kernel's buffers, pictures.py their formats, frame_times.py and frame_numbers.py
the times and numbers of frames.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.metadata import Settable
from mlink.opencv import cv2
from mlink_drivers.camera.backend import (
    Answer,
    CameraInfo,
    CameraRequest,
    ControlValue,
    NoFrame,
    Stamp,
    in_words,
)
from mlink_drivers.camera.v4l2.controls import V4L2Controls
from mlink_drivers.camera.v4l2.frame_numbers import FrameNumbers
from mlink_drivers.camera.v4l2.frame_times import FrameTimes
from mlink_drivers.camera.v4l2.identity import find_camera, lasting_name
from mlink_drivers.camera.v4l2.ioctl import Ioctl, fourcc_name, fourcc_of, system_ioctl
from mlink_drivers.camera.v4l2.node import check_node, gone, opening_failed, went_away
from mlink_drivers.camera.v4l2.pictures import COMPRESSED, PREFERRED, RAW, Pictures, pictures_of
from mlink_drivers.camera.v4l2.settings import V4L2Settings
from mlink_drivers.camera.v4l2.stream import BUFFERS, Buffer, PictureFormat, VideoStream

RATE_TOLERANCE = 0.05
_PROBES = 3
_PICTURES_AT_MOST = 10
"""How many of a camera's first pictures may be damaged."""
_GRAB_SEC = 1.0
_LASTING = ("usb:serial=", "usb:path=", "/dev/v4l/")
"""Beginnings of addresses that find the same camera again after it was unplugged."""
_GONE = (errno.ENODEV, errno.ENXIO, errno.ENOENT)
_LOSES_UNSEEN = "uvcvideo"
"""A driver that does not number frames that the camera left out, or that vanished on the cable."""


class V4L2Camera:
    """One /dev/videoN; implements CameraBackend and Adjustable.

    Args:
        ioctl: Replaces the system's ioctl in tests.
    """

    def __init__(self, ioctl: Ioctl = system_ioctl) -> None:
        self._ioctl = ioctl
        self._node = Path()
        self._stream: VideoStream | None = None
        self._pictures: Pictures | None = None
        self._settings: V4L2Settings | None = None
        self._times: FrameTimes | None = None
        self._numbers: FrameNumbers | None = None
        self._buffer: Buffer | None = None
        """The one grabbed last."""
        self._began_ns = 0
        """When the stream was switched on."""
        self._framerate = 0.0
        self._alternating = False

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Open the node, apply the request, and grab a few frames to see what is delivered.

        Raises:
            DeviceError: The node is absent, busy, silent or not permitted, does not capture, or
                has no format that is understood.
        """
        self._node = find_camera(address)
        check_node(self._node)
        try:
            return self._open(address, request)
        except OSError as error:
            raise opening_failed(self._node, error) from error

    def _open(self, address: str, request: CameraRequest) -> CameraInfo:
        self._stream = stream = VideoStream(self._node, self._ioctl)
        can = stream.capabilities
        if not can.buffer_type:
            raise opening_failed(self._node, why=f"{can.card or can.driver} does not capture here")
        if not can.streams:
            raise opening_failed(
                self._node, why=f"the driver {can.driver} has no streaming i/o, only read()"
            )
        # The capture thread would wait for OpenCV's helper threads, which run at normal priority.
        cv2.setNumThreads(1)
        adopted = self._choose_format(stream, request)
        name = fourcc_name(adopted.fourcc)
        source = f"camera {self._node}"
        self._pictures = pictures_of(name, adopted, source, convert=request.convert)
        rate = stream.set_rate(request.framerate)
        framerate = self._framerate = rate or request.framerate
        self._alternating = adopted.alternating
        controls = tuple(self.adjust(name, wish) for name, wish in request.controls.items())
        moment = self._probe(stream, self._pictures, name, request)
        times, shape = self._times, self._pictures.shape
        size = adopted.size if name in RAW else shape[1::-1]
        return CameraInfo(
            shape=shape,
            dtype=self._pictures.dtype,
            bits=self._pictures.bits,
            framerate=framerate,
            timestamp_source=times.source if times else "host",
            uncertainty_usec=times.uncertainty_usec if times else round(1e6 / framerate),
            identity=address if address.startswith(_LASTING) else lasting_name(self._node),
            answers=_answers(request, size, framerate, name) + controls,
            pixel_format="" if request.convert else name,
            timestamp_moment="" if times is None or times.source == "host" else moment,
            numbers_complete=can.driver != _LOSES_UNSEEN,
        )

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a control and read it back; may be called while another thread grabs."""
        try:
            return self._opened_settings().apply(control, value)
        except OSError as error:
            return Answer(control, in_words(value), f"the node cannot be opened ({error.strerror})")

    def controls(self) -> list[Settable]:
        """Return the controls that a person may set; none where the node cannot be opened."""
        try:
            return self._opened_settings().settables()
        except OSError:
            return []

    def _opened_settings(self) -> V4L2Settings:
        if self._settings is None:
            self._settings = V4L2Settings(V4L2Controls(self._node, self._ioctl))
        return self._settings

    def _choose_format(self, stream: VideoStream, request: CameraRequest) -> PictureFormat:
        """Set the requested format and size, else the best format that the camera has.

        Raises:
            DeviceError: It has none that is understood.
            OSError: The driver refuses to set it.
        """
        offered = [fourcc_name(fourcc) for fourcc in stream.formats()]
        wanted = request.pixel_format
        if not wanted or (offered and wanted not in offered):
            fitting = [
                name
                for name in PREFERRED
                if name in offered and (request.convert or name not in COMPRESSED)
            ]
            if offered and not fitting:
                pictures = "pictures" if request.convert else "raw pictures"
                raise DeviceError(
                    f"camera {self._node} sends no {pictures} that are understood, only "
                    f"{', '.join(offered)}",
                    remedy="Use another node of this camera (`mlink devices --modes`), or a "
                    "backend of your own (docs/cameras.md).",
                )
            wanted = fitting[0] if fitting else PREFERRED[0]
        try:
            return stream.set_format(fourcc_of(wanted), request.size)
        except ValueError as error:
            raise DeviceError(
                f"pixel_format: {error}", remedy='Write four characters, such as "MJPG" or "GREY".'
            ) from error

    def _probe(
        self, stream: VideoStream, pictures: Pictures, name: str, request: CameraRequest
    ) -> str:
        """Grab the first frames, which show how their times and numbers are determined.

        A camera that waits for its trigger has none yet: then the first one of the run shows it.
        No buffer can be filled before the stream is switched on. Driver times between that moment
        and the return of each grab are therefore on CLOCK_MONOTONIC.

        Returns:
            What is stamped, by the driver: "exposure-start" or "frame-end".
        """
        self._began_ns = time.monotonic_ns()
        stream.start()
        if request.triggered and name in RAW:
            return ""
        limit_sec = max(request.open_timeout_sec, request.silence_sec)
        taken: list[tuple[int, int]] = []
        sequences: list[int] = []
        known = False
        buffer: Buffer | None = None
        while len(taken) < _PROBES or not known:
            buffer = self._first(stream, limit_sec, name if request.triggered else "")
            taken.append((time.monotonic_ns(), buffer.time_ns))
            sequences.append(buffer.sequence)
            known |= not buffer.damaged and pictures.learn(buffer.data)
            if len(taken) == _PICTURES_AT_MOST and not known:
                raise DeviceError(
                    f"the first {len(taken)} pictures of {self._node} are damaged",
                    remedy="Try another cable, USB port or pixel_format, such as YUYV or MJPG.",
                )
        assert buffer is not None
        self._learn(taken, sequences)
        return "exposure-start" if buffer.at_exposure else "frame-end"

    def _learn(self, taken: list[tuple[int, int]], sequences: list[int]) -> FrameTimes:
        """Find out how times and numbers are determined, by (arrival, stamp) and number of frames.

        Args:
            taken: Time of arrival and driver's time of the first frames, in ns.
            sequences: The driver's numbers of them.
        """
        rate = self._framerate
        times = self._times = FrameTimes(f"camera {self._node}", taken, self._began_ns, rate)
        self._numbers = FrameNumbers(
            # The two fields of an interlaced picture have the same number.
            [0, 0] if self._alternating else sequences,
            round(1e9 / rate) if times.is_kernel_time else 0,
        )
        return times

    def _first(self, stream: VideoStream, limit_sec: float, triggered: str) -> Buffer:
        """Return the next of the first frames; `triggered` is the format of a triggered camera."""
        deadline = time.monotonic_ns() + round(limit_sec * 1e9)
        while (buffer := stream.take(_GRAB_SEC)) is None:
            if gone(self._node):
                raise went_away(self._node)
            if time.monotonic_ns() > deadline and triggered:
                raise DeviceError(
                    f"camera {self._node} sends nothing without its trigger, and what pictures of "
                    f"the format {triggered} are shows only in the first one",
                    remedy="Choose a raw pixel_format, such as GREY or YUYV, or switch its trigger "
                    "mode on by a command on `control-in` when the run has begun.",
                )
            if time.monotonic_ns() > deadline:
                raise opening_failed(self._node, silent_sec=limit_sec)
            time.sleep(0.01)
        return buffer

    def start(self) -> None:
        """Discard the frames that were queued since `open`, unless their stamps show their age.

        A frame is in the driver's queue, or not: no time is measured, so a thread that loses the
        processor in between discards neither more nor less.
        """
        if self._times is None:  # it waits for its trigger
            return
        assert self._numbers is not None
        self._times.start()
        if not self._times.is_kernel_time:
            for _ in range(BUFFERS):
                if self._taken(0) is None:
                    break
        self._numbers.start(time.monotonic_ns())

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 1 s.

        Raises:
            DeviceError: The camera was unplugged, or its driver reports that the stream has failed.
        """
        self._buffer = buffer = self._taken(_GRAB_SEC)
        if buffer is None:
            if gone(self._node):
                raise went_away(self._node)
            return NoFrame.TIMEOUT
        now_ns = time.monotonic_ns()
        if self._times is None:
            # Of a driver that does not count, the number stays, which is taken for one further.
            before = (buffer.sequence - 1) & 0xFFFF_FFFF
            self._learn([(now_ns, buffer.time_ns)], [before, buffer.sequence]).start()
        assert self._times is not None
        assert self._numbers is not None
        stamp = self._times.stamp(now_ns, buffer.time_ns)
        if isinstance(stamp, Stamp):
            number = self._numbers.number(buffer.sequence, stamp.time_ns)
            return Stamp(stamp.time_ns, number, stamp.estimated)
        return stamp

    def _taken(self, limit_sec: float) -> Buffer | None:
        """Take the next buffer of the stream.

        Raises:
            DeviceError: The camera was unplugged, or its stream has failed.
        """
        assert self._stream is not None
        try:
            return self._stream.take(limit_sec)
        except OSError as error:
            if error.errno in _GONE:
                raise went_away(self._node) from error
            raise DeviceError(
                f"the driver of {self._node} has ended the stream: {error.strerror}",
                remedy="Plug the camera in again; see the kernel's log (dmesg). "
                'on_loss = "continue" lets a run open it again.',
            ) from error

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Write the picture to `into`; False if the driver or the decoder find it damaged."""
        buffer = self._buffer
        if buffer is None or buffer.damaged:
            return False
        assert self._pictures is not None
        return self._pictures.write(buffer.data, into)

    def close(self) -> None:
        """Release the node."""
        self._buffer = None
        if self._times is not None:
            self._times.stop()
            self._times = None
        if self._settings is not None:
            self._settings.close()
            self._settings = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _answers(
    request: CameraRequest, got: tuple[int, ...], framerate: float, pixel_format: str
) -> tuple[Answer, ...]:
    """Return the values read back, compared with the requested ones."""
    width, height = request.size
    answers = [
        Answer("size", f"{width}×{height}", f"{got[0]}×{got[1]}", got == (width, height)),
        Answer(
            "framerate",
            f"{request.framerate:g}",
            f"{framerate:g}",
            abs(framerate - request.framerate) <= RATE_TOLERANCE * request.framerate
            or (request.triggered and framerate > request.framerate),
        ),
    ]
    if wanted := request.pixel_format:
        answers.append(Answer("pixel_format", wanted, pixel_format, pixel_format == wanted))
    return tuple(answers)
