"""Faults of a virtual camera: a frozen picture, a clock that runs fast, late timestamps.

The camera runs in its module's process. It receives orders as datagrams at a Unix socket in the
run's folder, and reads them before each frame.
"""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from mlink.errors import DeviceError
from mlink.peers import name_senders, receive_trusted

MAX_SKEW_PPM = 100_000
_LONGEST_MESSAGE = 4096


class CameraOrder(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """All faults that a virtual camera is to show from now on; one without values ends them.

    It replaces the order before, so faults that are to continue must be in it again.
    """

    frozen: bool = False
    """Repeat one picture, with new numbers and times."""
    skew_ppm: float = 0.0
    """Parts per million by which its clock, and so its rate and its stamps, run fast."""
    late_usec: int = 0
    """µs that are added to its stamps."""
    drop_triggers: float = 0.0
    """Share of the triggers at which it makes no frame."""
    drop_frames: float = 0.0
    """Share of the frames of a triggered camera that are lost after it has numbered them."""
    extra_frames: float = 0.0
    """Frames per trigger that nothing has triggered."""


_decoder = msgspec.json.Decoder(CameraOrder)


def orders_path(work_dir: Path, device: str) -> Path:
    """Return the path of the socket at which a virtual camera of a run receives orders."""
    return work_dir / f"{device}.orders"


def order_camera(work_dir: Path, device: str, order: CameraOrder) -> None:
    """Send an order to a virtual camera.

    Args:
        work_dir: Folder of the run.
        device: The camera's device name in the bench file.
        order: All faults from now on.

    Raises:
        DeviceError: No camera listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(msgspec.json.encode(order), str(orders_path(work_dir, device)))
        except OSError as error:
            raise DeviceError(
                f"the virtual camera '{device}' cannot receive faults: {error.strerror}",
                remedy="Use a virtual:scene that a camera module of this run has opened.",
            ) from error


class SkewedClock:
    """A camera's own clock as a function of CLOCK_MONOTONIC, ns; equal until it is skewed."""

    def __init__(self) -> None:
        self._true_ns = self._own_ns = 0
        self._ppm = 0.0

    def skew(self, ppm: float, now_ns: int) -> None:
        """Change the rate of the clock, without a jump of its reading.

        Args:
            ppm: Parts per million by which it runs fast; negative is slow.
            now_ns: When the change takes effect, ns of CLOCK_MONOTONIC.
        """
        self._own_ns, self._true_ns = self.own(now_ns), now_ns
        self._ppm = ppm

    def own(self, true_ns: int) -> int:
        """Return the clock's reading at a time of CLOCK_MONOTONIC."""
        elapsed = true_ns - self._true_ns
        return self._own_ns + elapsed + round(elapsed * self._ppm / 1e6)

    def true(self, own_ns: int) -> int:
        """Return the time of CLOCK_MONOTONIC at which the clock reads `own_ns`."""
        return self._true_ns + round((own_ns - self._own_ns) / (1 + self._ppm / 1e6))


class CameraFaults:
    """Receives the orders of one virtual camera.

    Args:
        path: Of the socket, which is created; empty for a camera without faults.

    Raises:
        DeviceError: The socket cannot be created.
    """

    def __init__(self, path: str) -> None:
        self.order = CameraOrder()
        self.clock = SkewedClock()
        self._path = path
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            name_senders(self._socket)
            try:
                self._socket.bind(path)
            except OSError as error:
                self._socket.close()
                raise DeviceError(
                    f"the virtual camera cannot create its socket {path}: {error.strerror}",
                    remedy="Free space on that disk, or set XDG_RUNTIME_DIR to another folder.",
                ) from error

    def fileno(self) -> int:
        """Descriptor that is readable when an order has arrived; −1 for a camera without faults."""
        return self._socket.fileno() if self._socket is not None else -1

    def look(self, now_ns: int) -> None:
        """Apply the orders that have arrived since the last call, from `now_ns` on."""
        while self._socket is not None:
            try:
                order = _decoder.decode(receive_trusted(self._socket, _LONGEST_MESSAGE))
            except BlockingIOError:
                return
            except (OSError, msgspec.MsgspecError):
                continue  # not a CameraOrder, or of another user: ignored
            if order.skew_ppm != self.order.skew_ppm:
                self.clock.skew(order.skew_ppm, now_ns)
            self.order = order

    def close(self) -> None:
        """Close and remove the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            try:
                Path(self._path).unlink()
            except OSError:
                pass  # the run's folder is gone already
