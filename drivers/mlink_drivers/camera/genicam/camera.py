"""Camera backend for GenICam cameras (GigE Vision, USB3 Vision), by Aravis."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Mapping
from ctypes import byref, c_double, c_int, c_size_t
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink.metadata import Settable
from mlink_drivers.camera.backend import (
    Answer,
    CameraInfo,
    CameraRequest,
    ControlValue,
    NoFrame,
    Stamp,
    in_words,
)
from mlink_drivers.camera.genicam.features import Features
from mlink_drivers.camera.genicam.finding import SCHEME, find, open_failed
from mlink_drivers.camera.genicam.library import Aravis, AravisError, Pointer, aravis
from mlink_drivers.camera.genicam.pixels import PixelFormat, readable, reader
from mlink_drivers.camera.genicam.times import SOURCE, FrameTimes

_GRAB_USEC = 500_000
_OVERDUE_PERIODS = 2.0
_BUFFERS = (8, 64)
_BUFFERED_SEC = 0.5
_BUFFER_BYTES = 256 << 20
_BUSY_PAUSE_SEC = 0.5
_CLOSE_SEC = 2.0
_CONTINUOUS = 0
_SUCCESS = 0
_FIXED = {"PixelFormat", "Width", "Height", "Binning", "Decimation", "UserSet"}
"""Beginnings of features that change the pictures, and so cannot be set during a run."""
_COUNTS = {
    "n_missing_packets": "packets_missing",
    "n_resent_packets": "packets_resent",
    "n_underruns": "underruns",
    "n_missing_frames": "frames_missing",
}
"""Aravis' counts → names in the summary."""

Control = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class GenicamCamera:
    """Opens genicam:serial=… and the like; see CameraBackend for the contract.

    What the bench does not set keeps the camera's own value, except for triggers: these are off
    unless a feature of the bench sets TriggerMode.
    """

    def __init__(self) -> None:
        self._word = ""
        self._library: Aravis | None = None
        self._camera: Pointer = None
        self._device: Pointer = None
        self._stream: Pointer = None
        self._buffer: Pointer = None
        """The frame that was grabbed last; it goes back at the next `grab`."""
        self._features: Features | None = None
        self._format: PixelFormat | None = None
        self._code = 0
        self._size = (0, 0)
        self._read: Any = None
        self._times: FrameTimes | None = None
        self._framerate = 0.0
        self._good = False
        self._grabbed_ns = 0
        self._trigger = ""
        """What releases a frame; "" if the camera runs freely."""
        self._lost = threading.Event()
        self._on_lost = Control(lambda _device, _data: self._lost.set())
        self._handler = 0
        self._acquiring = False
        self._counted: dict[str, int | str] = {}

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Find the camera, set what the bench requests, and read back what it delivers.

        Raises:
            DeviceError: It is absent or in use, or its pixels cannot be read.
        """
        library = self._library = aravis()
        name, identity = find(library, address)
        self._word = identity
        self._take(name, request.open_timeout_sec)
        features = self._features = Features(library, self._device)
        try:
            answers = self._configure(features, request)
            self._code = self._pixel_code(features, request.convert)
            width, height = int(features.value("Width") or 0), int(features.value("Height") or 0)
        except AravisError as error:
            raise open_failed(identity, str(error)) from error
        self._size = width, height
        assert self._format is not None
        self._read = reader(self._format, width, height)
        self._times = FrameTimes(identity, self._framerate)
        return CameraInfo(
            shape=self._format.shape(width, height),
            dtype=self._format.dtype,
            bits=self._format.used_bits,
            framerate=self._framerate,
            timestamp_source=SOURCE,
            uncertainty_usec=self._times.uncertainty_usec,
            steady=not self._trigger,
            identity=identity,
            answers=answers,
            pixel_format="" if request.convert else self._format.name,
        )

    def start(self) -> None:
        """Begin the acquisition; Aravis' receiving thread inherits the priority of this one.

        Raises:
            DeviceError: The camera refuses.
        """
        library = self._arv
        try:
            self._stream = library.call("arv_camera_create_stream", self._camera, None, None)
            payload = library.call("arv_camera_get_payload", self._camera)
            fewest, most = _BUFFERS
            count = max(fewest, min(most, round(self._framerate * _BUFFERED_SEC)))
            for _ in range(max(4, min(count, _BUFFER_BYTES // max(1, payload)))):
                buffer = library.call("arv_buffer_new_allocate", payload)
                library.call("arv_stream_push_buffer", self._stream, buffer)
            library.call("arv_camera_start_acquisition", self._camera)
        except AravisError as error:
            raise DeviceError(
                f"the camera {self._word} does not begin to send: {error}",
                remedy="Another program may have changed it; plug it in again.",
            ) from error
        self._acquiring = True
        self._grabbed_ns = time.monotonic_ns()

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 0.5 s.

        Raises:
            DeviceError: The camera does not answer any more.
        """
        library = self._arv
        self._give_back()
        buffer = library.call("arv_stream_timeout_pop_buffer", self._stream, _GRAB_USEC)
        if buffer is None:
            if self._lost.is_set():
                raise DeviceError(
                    f"the camera {self._word} does not answer any more",
                    remedy='Check power and cable; on_loss = "continue" lets a run wait for it.',
                )
            waited_sec = (time.monotonic_ns() - self._grabbed_ns) / 1e9
            slow = waited_sec * self._framerate < _OVERDUE_PERIODS
            return NoFrame.NOT_YET if self._trigger or slow else NoFrame.TIMEOUT
        self._grabbed_ns = now_ns = time.monotonic_ns()
        self._buffer = buffer
        assert self._times is not None
        raw = library.call("arv_buffer_get_frame_id", buffer)
        self._good = library.call("arv_buffer_get_status", buffer) == _SUCCESS
        if not self._good:
            return self._times.damaged(now_ns, raw)
        arrival_ns = library.call("arv_buffer_get_system_timestamp", buffer)
        device_ns = library.call("arv_buffer_get_timestamp", buffer)
        return self._times.stamp(now_ns, raw, arrival_ns, device_ns)

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Write the frame to `into`; False if parts of it are missing.

        Raises:
            DeviceError: The camera has changed its size or format.
        """
        if not self._good:
            return False
        library, buffer = self._arv, self._buffer
        size, padding, rows = c_size_t(), c_int(), c_int()
        data = library.call("arv_buffer_get_image_data", buffer, byref(size))
        found = tuple(
            library.call(f"arv_buffer_get_image_{what}", buffer) for what in ("width", "height")
        )
        code = library.call("arv_buffer_get_image_pixel_format", buffer)
        assert self._format is not None
        if found != self._size or code != self._code:
            was = f"{self._size[0]}×{self._size[1]} ({self._format.name}, {self._code:#010x})"
            raise DeviceError(
                f"pictures of {self._word} change from {was} to "
                f"{found[0]}×{found[1]} ({code:#010x})",
                remedy="No other program may change the camera during a run.",
            )
        library.call("arv_buffer_get_image_padding", buffer, byref(padding), byref(rows))
        needed = self._size[0] * self._size[1] * self._format.bits_per_pixel // 8
        if not data or size.value < needed + padding.value * self._size[1]:
            return False
        pixels = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(data))
        self._read(pixels, padding.value, into)
        return True

    def close(self) -> None:
        """End the acquisition and give the camera free."""
        library = self._library
        if library is None or self._camera is None:
            return
        self._counted = dict(self.figures())
        camera, self._camera, self._features = self._camera, None, None
        held = (self._buffer, self._stream, camera)
        self._buffer = self._stream = None
        if self._times is not None:
            self._times.stop()

        def let_go() -> None:
            if self._acquiring and not self._lost.is_set():
                with contextlib.suppress(AravisError):
                    library.call("arv_camera_stop_acquisition", camera)
            library.disconnect(self._device, self._handler)
            for instance in held:
                library.unref(instance)

        # A camera that has gone costs Aravis seconds of waiting for its answers.
        thread = threading.Thread(target=let_go, name="close", daemon=True)
        thread.start()
        thread.join(_CLOSE_SEC)

    def adjust(self, control: str, value: ControlValue) -> Answer:
        """Set a setting or feature, or run a command, and read it back."""
        if control.startswith(tuple(_FIXED)):
            why = "it changes the pictures, which keep their size and kind during a run"
            return Answer(control, in_words(value), why)
        if self._features is None:
            return Answer(control, in_words(value), "the camera is away")
        return self._features.apply(control, value)

    def controls(self) -> list[Settable]:
        """Return the settings that a person may change during a run."""
        return [] if self._features is None else self._features.settables()

    def figures(self) -> Mapping[str, int | str]:
        """Return counts of packets and buffers, and what triggers the camera."""
        if self._stream is None:
            return self._counted
        library = self._arv
        found: dict[str, int | str] = {"trigger": self._trigger} if self._trigger else {}
        for index in range(library.call("arv_stream_get_n_infos", self._stream)):
            name = _COUNTS.get(library.call("arv_stream_get_info_name", self._stream, index))
            count = name and library.call("arv_stream_get_info_uint64", self._stream, index)
            if name and count:
                found[name] = count
        return found

    def modes(self) -> list[str]:
        """Return formats, sizes, rates and trigger sources of the open camera, as texts."""
        features = self._features
        assert features is not None
        found = [f"pixel formats: {', '.join(features.choices('PixelFormat'))}"]
        with contextlib.suppress(AravisError):
            sizes = [features.bounds(name) for name in ("Width", "Height")]
            low, high = ("×".join(f"{size[end]:g}" for size in sizes) for end in (0, 1))
            found.append(f"sizes: {low} to {high}")
        if self._framerate:
            with contextlib.suppress(AravisError):
                least, most = self._rate_bounds()
                found.append(f"rates: {least:.4g} to {most:.4g} fps")
        for name, title in (("TriggerSource", "trigger sources"), ("LineSelector", "lines")):
            if choices := features.choices(name):
                found.append(f"{title}: {', '.join(choices)}")
        return found

    @property
    def _arv(self) -> Aravis:
        assert self._library is not None
        return self._library

    def _take(self, name: str, timeout_sec: float) -> None:
        """Open the camera and take control of it.

        Raises:
            DeviceError: Another program has it, also after `timeout_sec`.
        """
        library = self._arv
        deadline = time.monotonic() + timeout_sec
        while True:
            try:
                self._camera = library.call("arv_camera_new", name)
            except AravisError as error:
                raise open_failed(self._word, str(error)) from error
            if not self._camera:
                raise open_failed(self._word, "it does not answer")
            self._device = library.call("arv_camera_get_device", self._camera)
            is_network = library.call("arv_camera_is_gv_device", self._camera)
            if not is_network or library.call("arv_gv_device_is_controller", self._device):
                break
            library.unref(self._camera)
            self._camera = self._device = None
            if time.monotonic() > deadline:
                raise open_failed(self._word, "another program or module controls it")
            time.sleep(_BUSY_PAUSE_SEC)
        self._handler = library.connect(self._device, "control-lost", self._on_lost)

    def _configure(self, features: Features, request: CameraRequest) -> tuple[Answer, ...]:
        """Apply size, format, rate, controls and features, in this order; return the answers."""
        library, camera = self._arv, self._camera
        with contextlib.suppress(AravisError):  # a program that was killed has left it running
            library.call("arv_camera_stop_acquisition", camera)
        library.call("arv_camera_set_acquisition_mode", camera, _CONTINUOUS)
        with contextlib.suppress(AravisError):  # a camera without triggers
            library.call("arv_camera_clear_triggers", camera)
        self._select_trigger(features)
        answers = []
        if request.pixel_format:
            answer = features.apply("PixelFormat", request.pixel_format)
            answers.append(Answer("pixel_format", answer.asked, answer.got, answer.same))
        if request.size_given:
            answers.append(self._set_size(features, request.size))
        if request.triggered:
            features.unlimit_rate()
        elif request.framerate_given:
            answers.append(self._set_rate(request.framerate))
        answers += [features.apply(name, wish) for name, wish in request.controls.items()]
        self._framerate = self._rate()
        for selector in features.choices("TriggerSelector") or [""]:
            features.apply("TriggerSelector", selector)
            if features.value("TriggerMode") == "On":
                parts = (features.value(it) for it in ("TriggerSource", "TriggerActivation"))
                found = " ".join([selector, *(str(part) for part in parts if part)]).strip()
                self._trigger += f"; {found}" if self._trigger else found
        self._select_trigger(features)
        if self._trigger:
            self._framerate = request.framerate if request.framerate_given else 0.0
        return tuple(answers)

    def _select_trigger(self, features: Features) -> None:
        """Let features without a selector, and TriggerSoftware, mean single frames."""
        if "FrameStart" in features.choices("TriggerSelector"):
            features.apply("TriggerSelector", "FrameStart")

    def _set_size(self, features: Features, size: tuple[int, int]) -> Answer:
        """Set width and height; the offsets, which limit them, to 0 first."""
        for name in ("OffsetX", "OffsetY"):
            if features.kind(name):
                features.apply(name, 0)
        given = [features.apply(*it) for it in zip(("Width", "Height"), size, strict=True)]
        got = "×".join(str(features.value(name)) for name in ("Width", "Height"))
        whys = "".join(f"; {it.setting}: {it.got}" for it in given if not it.same)
        return Answer("size", "×".join(map(str, size)), got + whys, not whys)

    def _set_rate(self, wish: float) -> Answer:
        asked = f"{wish:g}"
        try:
            self._arv.call("arv_camera_set_frame_rate", self._camera, wish)
            low, high = self._rate_bounds()
        except AravisError as error:
            return Answer("framerate", asked, f"refused: {error}")
        got = self._rate()
        offer = "" if low <= wish <= high else f" (it offers {low:.4g} to {high:.4g})"
        return Answer("framerate", asked, f"{got:.4g}{offer}", abs(got - wish) <= 0.005 * wish)

    def _rate(self) -> float:
        """Return the rate that the camera reports; 0 if it has none."""
        try:
            return max(0.0, float(self._arv.call("arv_camera_get_frame_rate", self._camera)))
        except AravisError:
            return 0.0

    def _rate_bounds(self) -> tuple[float, float]:
        """Return the lowest and highest one."""
        low, high = c_double(), c_double()
        self._arv.call("arv_camera_get_frame_rate_bounds", self._camera, byref(low), byref(high))
        return low.value, high.value

    def _pixel_code(self, features: Features, convert: bool) -> int:
        """Find out what the pixels are; return their PFNC number."""
        name = str(features.value("PixelFormat"))
        code = int(self._arv.call("arv_device_get_integer_feature_value", self._device,
                                  "PixelFormat"))  # fmt: skip
        offered = features.choices("PixelFormat")
        self._format = readable(name, code, offered, self._word, convert)
        return code & 0xFFFFFFFF

    def _give_back(self) -> None:
        if self._buffer is not None:
            self._arv.call("arv_stream_push_buffer", self._stream, self._buffer)
            self._buffer = None


def list_modes(address: str) -> list[str]:
    """Return formats, sizes, rates and trigger sources of a camera, for `mlink devices --modes`.

    The list is empty for an address of another kind.

    Raises:
        DeviceError: It cannot be opened.
    """
    if not address.startswith(SCHEME):
        return []
    camera = GenicamCamera()
    try:
        camera.open(address, CameraRequest(open_timeout_sec=0.0))
        return camera.modes()
    finally:
        camera.close()
