"""What can be broken in a virtual camera: its picture, its clock, its stamps.

The camera runs in its module's process; orders reach it as datagrams at a socket of the run's
folder, and are looked for at each frame.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import msgspec

from mlink.errors import DeviceError

MAX_SKEW_PPM = 100_000
_LONGEST_MESSAGE = 4096


class CameraOrder(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How a virtual camera is to misbehave; the whole of it, so that {} ends all faults."""

    frozen: bool = False
    """Send the same picture again and again, with new times."""
    skew_ppm: float = 0.0
    """Its clock, and with it its rate, runs fast by so much; its stamps are of that clock."""
    late_usec: int = 0
    """Its stamps are late by so much."""


_decoder = msgspec.json.Decoder(CameraOrder)


def orders_path(work_dir: Path, device: str) -> Path:
    """Return where a virtual camera of a run takes its orders."""
    return work_dir / f"{device}.orders"


def order_camera(work_dir: Path, device: str, order: CameraOrder) -> None:
    """Let a virtual camera misbehave; DeviceError when it is not there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(msgspec.json.encode(order), str(orders_path(work_dir, device)))
        except OSError as error:
            raise DeviceError(
                f"the virtual camera '{device}' takes no orders: {error.strerror}",
                remedy="Is it a virtual:scene that a module of this run films?",
            ) from error


class SkewedClock:
    """A camera's own clock against CLOCK_MONOTONIC, in ns; they agree until it is skewed."""

    def __init__(self) -> None:
        self._true_ns = self._own_ns = 0
        self._ppm = 0.0

    def skew(self, ppm: float, now_ns: int) -> None:
        """From `now_ns` (CLOCK_MONOTONIC) on, run fast by `ppm`."""
        self._own_ns, self._true_ns = self.own(now_ns), now_ns
        self._ppm = ppm

    def own(self, true_ns: int) -> int:
        """Return what the clock shows at a time of CLOCK_MONOTONIC."""
        elapsed = true_ns - self._true_ns
        return self._own_ns + elapsed + round(elapsed * self._ppm / 1e6)

    def true(self, own_ns: int) -> int:
        """Return the time of CLOCK_MONOTONIC at which the clock shows `own_ns`."""
        return self._true_ns + round((own_ns - self._own_ns) / (1 + self._ppm / 1e6))


class CameraFaults:
    """Takes the orders of one virtual camera; without a socket path there are none."""

    def __init__(self, path: str) -> None:
        self.order = CameraOrder()
        self.clock = SkewedClock()
        self._path = path
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            try:
                self._socket.bind(path)
            except OSError as error:
                self._socket.close()
                raise DeviceError(
                    f"the virtual camera cannot listen at {path}: {error.strerror}"
                ) from error

    def look(self) -> None:
        """Take what has been ordered since the last time."""
        while self._socket is not None:
            try:
                order = _decoder.decode(self._socket.recv(_LONGEST_MESSAGE))
            except BlockingIOError:
                return
            except (OSError, msgspec.MsgspecError):
                continue  # not of our making
            if order.skew_ppm != self.order.skew_ppm:
                self.clock.skew(order.skew_ppm, time.monotonic_ns())
            self.order = order

    def close(self) -> None:
        """Take no more orders."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            try:
                Path(self._path).unlink()
            except OSError:
                pass  # the run's folder is gone already
