"""A USB device in user space: plugged into Linux' virtual host controller (vhci_hcd, USB/IP).

The kernel takes it for real: it enumerates it and binds its drivers. Protocol: the kernel's
Documentation/usb/usbip_protocol.rst; numbers are big-endian, descriptors little-endian. Needs
root and the module vhci_hcd.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
HIGH_SPEED = 3
_SUBMIT, _UNLINK = 1, 2
_RET_SUBMIT, _RET_UNLINK = 3, 4
_HEAD = struct.Struct(">IIIII28s")
_SUBMITTED = struct.Struct(">IIiii8s")
_RETURNED = struct.Struct(">IIIIIiiiii8x")
_UNLINKED = struct.Struct(">IIIIIi24x")
_SETUP = struct.Struct("<BBHHH")

GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR = 0, 1, 3, 6
SET_CONFIGURATION, SET_INTERFACE = 9, 11
DEVICE, CONFIGURATION, STRING = 1, 2, 3


class Stall(Exception):
    """The device refuses a control request."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The eight bytes of a control request."""

    request_type: int
    request: int
    value: int
    index: int
    length: int


class UsbDevice:
    """Owns one end of the cable; subclasses answer class requests and fill IN endpoints."""

    def __init__(self, device: bytes, configuration: bytes, strings: Sequence[str]) -> None:
        self._descriptors = {DEVICE: device, CONFIGURATION: configuration}
        self._strings = strings
        self._port = -1
        self._cable: socket.socket | None = None
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[tuple[int, int]]] = {}
        """(sequence number, length) of the IN transfers that wait, by endpoint."""

    def plug(self, port: int) -> None:
        """Plug it into a port of the controller (0 to 7); returns before it is enumerated."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._cable, self._port = ours, port
        self._waiting = {}
        threading.Thread(target=self._serve, args=(ours,), name="usb", daemon=True).start()
        (VHCI / "attach").write_text(f"{port} {theirs.fileno()} {port + 1} {HIGH_SPEED}")
        theirs.close()

    def unplug(self) -> None:
        """Pull it out."""
        cable, self._cable = self._cable, None
        if cable is not None:
            (VHCI / "detach").write_text(str(self._port))
            cable.close()

    def control(self, setup: Setup, data: bytes) -> bytes:
        """Answer a class request; Stall to refuse."""
        raise Stall

    def configured(self, setup: Setup) -> None:
        """Take note of a standard request that sets something."""

    def send_in(self, endpoint: int, data: bytes) -> bool:
        """Fill waiting IN transfers with one message; False when too few wait: it is lost."""
        with self._lock:
            waiting = self._waiting.get(endpoint, deque())
            if sum(length for _, length in waiting) <= len(data):
                return False
            while True:  # a transfer that is not full is the message's end
                number, length = waiting.popleft()
                part, data = data[:length], data[length:]
                self._reply(number, 0, part)
                if len(part) < length:
                    return True

    def _serve(self, cable: socket.socket) -> None:
        try:
            while True:
                command, number, _, direction, endpoint, rest = _HEAD.unpack(_read(cable, 48))
                if command == _UNLINK:
                    self._unlink(number, struct.unpack_from(">I", rest)[0])
                    continue
                _, length, _, _, _, raw = _SUBMITTED.unpack(rest)
                data = _read(cable, length) if direction == 0 and length else b""
                if endpoint == 0:
                    self._answer(number, Setup(*_SETUP.unpack(raw)), data)
                elif direction == 1:
                    with self._lock:
                        self._waiting.setdefault(endpoint, deque()).append((number, length))
                else:
                    self._finish(number, 0, b"", length)
        except OSError:  # unplugged
            pass

    def _answer(self, number: int, setup: Setup, data: bytes) -> None:
        try:
            is_standard = not setup.request_type & 0x60
            answer = self._standard(setup) if is_standard else self.control(setup, data)
        except Stall:
            self._finish(number, -errno.EPIPE, b"")
            return
        is_in = bool(setup.request_type & 0x80)
        self._finish(number, 0, answer[: setup.length] if is_in else b"",
                     None if is_in else len(data))  # fmt: skip

    def _standard(self, setup: Setup) -> bytes:
        if setup.request == GET_DESCRIPTOR:
            kind, index = setup.value >> 8, setup.value & 0xFF
            if kind == STRING:
                return self._string(index)
            if kind in self._descriptors and index == 0:
                return self._descriptors[kind]
            raise Stall
        if setup.request == GET_STATUS:
            return b"\0\0"
        if setup.request in (SET_CONFIGURATION, SET_INTERFACE, CLEAR_FEATURE, SET_FEATURE):
            self.configured(setup)
            return b""
        raise Stall

    def _string(self, index: int) -> bytes:
        if index > len(self._strings):
            raise Stall
        # Index 0 lists the languages: US English.
        raw = self._strings[index - 1].encode("utf-16-le") if index else b"\x09\x04"
        return bytes((len(raw) + 2, STRING)) + raw

    def _unlink(self, number: int, victim: int) -> None:
        with self._lock:
            status = 0
            for waiting in self._waiting.values():
                for entry in tuple(waiting):
                    if entry[0] == victim:
                        waiting.remove(entry)
                        status = -errno.ECONNRESET
            self._write(_UNLINKED.pack(_RET_UNLINK, number, 0, 0, 0, status))

    def _finish(self, number: int, status: int, data: bytes, length: int | None = None) -> None:
        with self._lock:
            self._reply(number, status, data, length)

    def _reply(self, number: int, status: int, data: bytes, length: int | None = None) -> None:
        actual = len(data) if length is None else length
        self._write(_RETURNED.pack(_RET_SUBMIT, number, 0, 0, 0, status, actual, 0, 0, 0) + data)

    def _write(self, message: bytes) -> None:
        if self._cable is not None:
            try:
                self._cable.sendall(message)
            except OSError:  # unplugged
                pass


def _read(cable: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = cable.recv(count - len(parts))
        if not part:
            raise ConnectionError
        parts += part
    return bytes(parts)
