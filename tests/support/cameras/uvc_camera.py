"""A webcam in user space (UVC 1.0, MJPG, bulk transfers), for the kernel's own uvcvideo driver.

Descriptors and controls: "USB Device Class Definition for Video Devices 1.0a" and its MJPEG
payload. Frame n of a camera is a picture whose brightness is n, in the camera's own hue.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from tests.support.cameras.usbip_device import SET_CONFIGURATION, Setup, Stall, UsbDevice

VENDOR, PRODUCT = 0x1D6B, 0x0102
SIZES = ((640, 480), (320, 240))
RATES = (30, 15)
LEVELS = 8
"""Pictures of a camera; they come round and round."""
ENDPOINT = 1
_MAX_FRAME = 65_536
_SET_CUR, _GET_CUR, _GET_MIN, _GET_MAX, _GET_RES, _GET_LEN, _GET_INFO, _GET_DEF = (
    0x01, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
)  # fmt: skip
_PROBE, _COMMIT = 1, 2
_NEGOTIATION = struct.Struct("<HBBIHHHHHII")
_CAMERA, _UNIT = 1, 2
"""Entities: the camera terminal and the processing unit."""


@dataclass(slots=True)
class _Control:
    """A control of an entity: its layout, range and value."""

    layout: str
    minimum: int
    maximum: int
    step: int
    default: int
    value: int = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.default

    def answer(self, request: int) -> bytes:
        if request == _GET_LEN:
            return struct.pack("<H", struct.calcsize(self.layout))
        if request == _GET_INFO:
            return b"\x03"  # can be read and set
        values = {_GET_CUR: self.value, _GET_MIN: self.minimum, _GET_MAX: self.maximum,
                  _GET_RES: self.step, _GET_DEF: self.default}  # fmt: skip
        if request not in values:
            raise Stall
        return struct.pack(self.layout, values[request])


def _controls() -> dict[tuple[int, int], _Control]:
    """Return the controls by (entity, selector)."""
    return {
        # mode: manual is 1, aperture priority 8; as its "step" a camera reports those it has
        (_CAMERA, 2): _Control("<B", 0, 0, 9, 8),
        (_CAMERA, 3): _Control("<B", 0, 1, 1, 1),  # may the rate sink in the dark?
        (_CAMERA, 4): _Control("<I", 1, 5000, 1, 156),  # exposure time, 100 µs
        (_UNIT, 2): _Control("<h", -64, 64, 1, 0),  # brightness
        (_UNIT, 4): _Control("<H", 0, 100, 1, 0),  # gain
        (_UNIT, 5): _Control("<B", 0, 2, 1, 1),  # power line
    }


class UvcCamera(UsbDevice):
    """Streams while the driver asks for it; `mute` and `skip` are its faults."""

    def __init__(
        self,
        serial: str,
        hue: int,
        sizes: Sequence[tuple[int, int]] = SIZES,
        rates: Sequence[int] = RATES,
    ) -> None:
        configuration = _configuration(rates)
        super().__init__(_device(), configuration, ["mlink tests", "Webcam", serial])
        self.serial = serial
        self.sent = 0
        self.missed = 0
        """Frames that the host had no transfer for."""
        self.mute = threading.Event()
        """Set: it stays plugged in, but sends nothing."""
        self.skip = 0
        """So many frames are left out next."""
        self.controls = _controls()
        self._rates = rates
        self._jpegs = {size: [_picture(size, hue, n) for n in range(LEVELS)] for size in sizes}
        self._wish = _NEGOTIATION.pack(0, 1, 1, 333_333, 0, 0, 0, 0, 0, _MAX_FRAME, _MAX_FRAME)
        self._committed: tuple[tuple[int, int], float] | None = None
        self._streaming = threading.Event()
        self._ended = threading.Event()

    def plug(self, port: int) -> None:
        """Plug it in, with its controls at their defaults, and begin to make pictures."""
        self.controls = _controls()
        self._streaming.clear()
        self._ended = threading.Event()
        super().plug(port)
        threading.Thread(target=self._film, args=(self._ended,), name="film", daemon=True).start()

    def unplug(self) -> None:
        """Pull it out."""
        self._ended.set()
        super().unplug()

    def control(self, setup: Setup, data: bytes) -> bytes:
        """Answer what uvcvideo asks of the interfaces and entities."""
        entity, interface, selector = setup.index >> 8, setup.index & 0xFF, setup.value >> 8
        if interface == 1:
            return self._negotiate(setup.request, selector, data)
        control = self.controls.get((entity, selector))
        if control is None:
            raise Stall
        if setup.request != _SET_CUR:
            return control.answer(setup.request)
        (value,) = struct.unpack(control.layout, data)
        if (entity, selector) != (_CAMERA, 2):
            value = max(control.minimum, min(value, control.maximum))
        elif value not in (1, 8):
            raise Stall
        control.value = value
        return b""

    def picture(self, size: tuple[int, int], number: int) -> bytes:
        """Return the JPEG of a frame."""
        return self._jpegs[size][number % LEVELS]

    def configured(self, setup: Setup) -> None:
        """Stop: a bulk camera is stopped by clearing its endpoint."""
        if setup.request != SET_CONFIGURATION:
            self._streaming.clear()

    def _negotiate(self, request: int, selector: int, data: bytes) -> bytes:
        if selector not in (_PROBE, _COMMIT):
            raise Stall
        if request == _SET_CUR:
            hint, _, frame, interval, *rest = _NEGOTIATION.unpack(data.ljust(26, b"\0")[:26])
            frame = min(max(frame, 1), len(SIZES))
            interval = min(
                (round(1e7 / rate) for rate in self._rates), key=lambda t: abs(t - interval)
            )
            self._wish = _NEGOTIATION.pack(
                hint, 1, frame, interval, *rest[:-2], _MAX_FRAME, _MAX_FRAME
            )
            if selector == _COMMIT:
                self._committed = (SIZES[frame - 1], 1e7 / interval)
                self._streaming.set()
            return b""
        if request == _GET_LEN:
            return struct.pack("<H", _NEGOTIATION.size)
        if request == _GET_INFO:
            return b"\x03"
        return self._wish

    def _film(self, ended: threading.Event) -> None:
        """Send a picture when it is due, for as long as the camera is plugged in."""
        number, toggle = 0, 0
        due = time.monotonic()
        while not ended.is_set():
            if not self._streaming.wait(0.1):
                due = time.monotonic()
                continue
            assert self._committed is not None
            size, rate = self._committed
            due = max(due + 1 / rate, time.monotonic() - 2 / rate)
            if ended.wait(max(0, due - time.monotonic())):
                return
            number += 1
            if self.mute.is_set():
                continue
            if self.skip > 0:
                self.skip -= 1
                continue
            toggle ^= 1
            head = bytes((2, 0x82 | toggle))  # end of header, end of frame, the frame's turn
            if self.send_in(ENDPOINT, head + self.picture(size, number)):
                self.sent += 1
            else:
                self.missed += 1


def _picture(size: tuple[int, int], hue: int, number: int) -> bytes:
    """Return a JPEG of one hue (0 to 179) whose brightness is its number."""
    width, height = size
    hsv = np.full((height, width, 3), (hue, 160, 15 + 30 * number), np.uint8)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))[1]
    return bytes(jpeg.tobytes())


def _device() -> bytes:
    # class "miscellaneous, interface association", as of composite video devices
    return struct.pack(
        "<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, VENDOR, PRODUCT, 0x0100, 1, 2, 3, 1
    )


def _configuration(rates: Sequence[int]) -> bytes:
    control = _control_interface()
    streaming = _streaming_interface(rates)
    association = bytes((8, 0x0B, 0, 2, 0x0E, 3, 0, 2))
    total = 9 + len(association) + len(control) + len(streaming)
    head = struct.pack("<BBHBBBBB", 9, 2, total, 2, 1, 0, 0x80, 250)
    return head + association + control + streaming


def _control_interface() -> bytes:
    # exposure mode, exposure priority, exposure time
    camera = struct.pack("<BBBBHBBHHHB", 18, 0x24, 2, _CAMERA, 0x0201, 0, 0, 0, 0, 0, 3)
    camera += bytes((0x0E, 0, 0))
    # brightness (bit 0), gain (9), power-line frequency (10)
    unit = struct.pack("<BBBBBHBHB", 11, 0x24, 5, _UNIT, _CAMERA, 0, 2, 0x0601, 0)
    output = struct.pack("<BBBBHBBB", 9, 0x24, 3, 3, 0x0101, 0, _UNIT, 0)
    total = 13 + len(camera) + len(unit) + len(output)
    head = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, total, 48_000_000, 1, 1)
    return bytes((9, 4, 0, 0, 0, 0x0E, 1, 0, 0)) + head + camera + unit + output


def _streaming_interface(rates: Sequence[int]) -> bytes:
    intervals = [round(1e7 / rate) for rate in rates]
    frames = b""
    for number, (width, height) in enumerate(SIZES, 1):
        bits = width * height * 8
        frames += struct.pack(
            f"<BBBBBHHIIIIB{len(rates)}I", 26 + 4 * len(rates), 0x24, 7, number, 0, width, height,
            bits, bits * rates[0], _MAX_FRAME, intervals[0], len(rates), *intervals,
        )  # fmt: skip
    mjpeg = bytes((11, 0x24, 6, 1, len(SIZES), 0, 1, 0, 0, 0, 0)) + frames
    total = 14 + len(mjpeg)
    head = struct.pack(
        "<BBBBHBBBBBBBB", 14, 0x24, 1, 1, total, 0x80 | ENDPOINT, 0, 3, 0, 0, 0, 1, 0
    )
    endpoint = struct.pack("<BBBBHB", 7, 5, 0x80 | ENDPOINT, 2, 512, 0)
    return bytes((9, 4, 1, 0, 1, 0x0E, 2, 0, 0)) + head + mjpeg + endpoint
