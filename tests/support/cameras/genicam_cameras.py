"""A GenICam camera for tests: Aravis' own fake one (GigE Vision), in a network of its own.

Such cameras have one port for all, and Aravis asks on all networks for cameras: so each test has a
network namespace, if this user may make one. Else the tests take turns on the loopback device.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from mlink.errors import DeviceError
from mlink_drivers.camera.genicam.finding import present
from mlink_drivers.camera.genicam.library import aravis

PROGRAM = "arv-fake-gv-camera-0.8"
_NEW_NETWORK = 0x40000000
_SET_FLAGS, _UP = 0x8914, 0x41
_LIMIT_SEC = 60.0


def why_missing() -> str:
    """Return why there can be no fake camera; "" if there can."""
    try:
        aravis()
    except DeviceError as error:
        return f"{error.message} {error.remedy}"
    return "" if shutil.which(PROGRAM) else f"no {PROGRAM}: sudo apt-get install aravis-tools"


@contextmanager
def own_network() -> Iterator[None]:
    """Put this thread, and what it starts, into a network that has a loopback device alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_NEW_NETWORK):
            with (Path(tempfile.gettempdir()) / f"mlink-genicam-{os.getuid()}").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            return
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
            yield
        finally:
            libc.setns(before, _NEW_NETWORK)
    finally:
        os.close(before)


class FakeGenicam:
    """The fake camera's program; killed, it is a camera that was unplugged.

    Args:
        serial: Its serial number.
        lost: Packets that it loses, of a thousand.
    """

    def __init__(self, serial: str = "GV01", lost: float = 0.0) -> None:
        self.url = f"genicam:serial={serial}"
        self._command = [PROGRAM, "-i", "127.0.0.1", "-s", serial, "-r", f"{lost:g}"]
        self._process: subprocess.Popen[bytes] | None = None

    def plug(self, *, seen: bool = True) -> None:
        """Start the program, and wait until it answers, if it is to be seen from this process."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _LIMIT_SEC
        while seen and not present(aravis()):
            assert self._process.poll() is None, f"{PROGRAM} ended"
            assert time.monotonic() < deadline, f"{PROGRAM} does not answer"

    def unplug(self) -> None:
        """Kill the program."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
