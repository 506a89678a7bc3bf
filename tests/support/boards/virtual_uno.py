"""Opens a virtual Uno for tests, and speaks to it over its serial port."""

import logging
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlink.devices import DeviceEndpoint
from mlink_hil.control.board import VirtualBoard
from mlink_hil.devices import VirtualDevices

LOG = logging.getLogger("mlink.test.uno")


class SerialClient:
    """A client of the port: raw bytes, with waits."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def send(self, *data: int) -> None:
        os.write(self.fd, bytes(data))

    def read(self, count: int, timeout_sec: float = 30.0) -> bytes:
        """Return `count` bytes, or what came until the time was over."""
        data = b""
        deadline = time.monotonic() + timeout_sec
        while len(data) < count:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                break
            data += os.read(self.fd, count - len(data))
        return data

    def skip(self) -> None:
        """Drop what comes until the line is quiet."""
        while self.read(1000, 0.1):
            pass

    def close(self) -> None:
        os.close(self.fd)


def spec_of(kind: str) -> str:
    """The device string of a kind: protocol, or a firmware on the AVR simulator."""
    return f"virtual:uno?{'simulator' if kind == 'protocol' else 'firmware'}={kind}"


@contextmanager
def open_uno(
    tmp_path: Path, kind: str
) -> Iterator[tuple[DeviceEndpoint, VirtualBoard, SerialClient]]:
    spec = spec_of(kind)
    devices = VirtualDevices()
    with (
        devices.open(name="uno", spec=spec, work_dir=tmp_path, log=LOG) as endpoint,
        VirtualBoard.connect(endpoint.control) as board,
    ):
        serial = SerialClient(endpoint.address)
        try:
            yield endpoint, board, serial
        finally:
            serial.close()
