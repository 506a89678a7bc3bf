"""A GenICam camera whose trigger input or strobe is wired to a pin of a simulated board.

`python -m tests.support.cameras.triggered_genicam SERIAL` is Aravis' fake camera with an input
`Line0` that triggers it (by itself, the fake one has the name alone). The first line of its
standard input is JSON: the arguments of `WiredGenicam.wire`. The first 24 bytes of each picture are
the number of the edge that caused it, the edge's time, and when the program has made the picture
(ns of CLOCK_MONOTONIC).
"""

from __future__ import annotations

import ctypes
import json
import random
import socket
import struct
import sys
import tempfile
import time
from ctypes import c_char_p, c_double, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from mlink.errors import DeviceError
from mlink_hil.control.board import VirtualBoard
from tests.support.cameras.genicam_cameras import FakeGenicam

MARK = struct.Struct("=qqq")
LEAD = 3
"""Edges and frames that are never lost: of the single pulses before a train."""
_SOFTWARE = 0x30C  # register: 1 makes one frame, and is 0 then
_ACQUISITION = 0x124  # register: whether it sends
_POLLS_HZ = 200.0
_DISCOVERY = b"\x42\x01\x00\x02\x00\x00\x00\x01"
_FILL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint32, c_uint32, c_uint32)


class WiredGenicam(FakeGenicam):
    """The program, as a child."""

    def __init__(self, serial: str) -> None:
        super().__init__(serial)
        self._command = [sys.executable, "-m", __spec__.name, serial]

    def wire(self, control: Path, pin: int, fates: Path, **settings: Any) -> None:
        """Connect the camera's line to a pin.

        Args:
            control: Control socket of the board.
            pin: The pin.
            fates: File that gets a line for each edge, with its number and what became of it
                ("ignored", "lost", "broken", "sent").
            settings: `ignored`, `lost`, `broken`: chances of a trigger that makes no frame, of a
                frame that is lost on the way, and of one that loses packets; `strobe`: the camera
                drives the pin.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        order = {"control": str(control), "pin": pin, "fates": str(fates), **settings}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()


class _Camera:
    """The camera in its own program; Aravis' thread calls `_fill` for each frame."""

    def __init__(self, serial: str, folder: Path) -> None:
        library = self._library = ctypes.CDLL("libaravis-0.8.so.0")
        self._gobject = ctypes.CDLL("libgobject-2.0.so.0")
        for name, result, arguments in (
            ("arv_gv_fake_camera_new_full", c_void_p, [c_char_p] * 3),
            ("arv_gv_fake_camera_get_fake_camera", c_void_p, [c_void_p]),
            ("arv_fake_camera_new", c_void_p, [c_char_p]),
            ("arv_fake_camera_get_genicam_xml", c_void_p, [c_void_p, c_void_p]),
            ("arv_fake_camera_set_trigger_frequency", None, [c_void_p, c_double]),
            ("arv_fake_camera_set_fill_pattern", None, [c_void_p, _FILL, c_void_p]),
            ("arv_fake_camera_write_register", c_uint32, [c_void_p, c_uint32, c_uint32]),
            ("arv_fake_camera_read_register", c_uint32, [c_void_p, c_uint32, c_void_p]),
            ("arv_buffer_get_data", c_void_p, [c_void_p, c_void_p]),
        ):
            getattr(library, name).restype, getattr(library, name).argtypes = result, arguments
        features = folder / "camera.xml"
        features.write_bytes(self._features())
        self._server = library.arv_gv_fake_camera_new_full(
            b"127.0.0.1", serial.encode(), str(features).encode()
        )
        self._camera = library.arv_gv_fake_camera_get_fake_camera(self._server)
        library.arv_fake_camera_set_trigger_frequency(self._camera, _POLLS_HZ)
        self._on_frame = _FILL(self._fill)
        library.arv_fake_camera_set_fill_pattern(self._camera, self._on_frame, None)
        self._mark = (0, 0)
        self._order: dict[str, Any] = {}
        self._random = random.Random(1)
        self._strobe: VirtualBoard | None = None
        self._frames = 0
        self._pings = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def _features(self) -> bytes:
        """Return the fake camera's description, where Line0 triggers it as the software did."""
        size = c_size_t()
        plain = self._library.arv_fake_camera_new(b"plain")
        text = self._library.arv_fake_camera_get_genicam_xml(plain, ctypes.byref(size))
        before, line, after = ctypes.string_at(text, size.value).partition(b'Name="Line0"')
        for old, new in ((1, 2), (0, 1)):  # of Software, and of Line0 before it
            after = after.replace(b"<Value>%d<" % old, b"<Value>%d<" % new, 1)
        return before + line + after

    def run(self, order: dict[str, Any]) -> None:
        """Make a frame for each edge, or an edge for each frame, until the board is gone."""
        self._order = order
        board = VirtualBoard.connect(order["control"])
        if order.get("strobe"):
            board.drive(order["pin"], False)
            self._strobe = board
            while True:
                self._wake()
        board.watch([order["pin"]])
        number = -1
        while True:
            try:
                edge = board.wait_edge(order["pin"], True, timeout_sec=3600)
            except DeviceError:  # the run has ended
                return
            assert edge is not None
            number += 1
            ignored = number >= LEAD and self._random.random() < order.get("ignored", 0)
            if ignored or self._register(_SOFTWARE) or not self._register(_ACQUISITION):
                self._tell(number, "ignored")
                continue
            self._mark = number, edge.time_ns
            self._library.arv_fake_camera_write_register(self._camera, _SOFTWARE, 1)
            for _ in range(100):
                if not self._register(_SOFTWARE):
                    break
                self._wake()

    def _tell(self, edge: int, fate: str) -> None:
        with Path(self._order["fates"]).open("a") as file:
            print(edge, fate, file=file)

    def _wake(self) -> None:
        """Let the fake camera look: it takes a wait below 0 for a long one, and waits 0.1 s."""
        self._pings.sendto(_DISCOVERY, ("127.0.0.1", 3956))
        time.sleep(0.001)

    def _register(self, address: int) -> int:
        value = c_uint32()
        self._library.arv_fake_camera_read_register(self._camera, address, ctypes.byref(value))
        return value.value

    def _fill(self, buffer: int, _data: object, *_settings: int) -> None:
        order, number = self._order, self._frames
        if not order:
            return
        self._frames += 1
        if self._strobe is not None:
            try:
                begun = self._strobe.drive(order["pin"], True)
                self._strobe.drive(order["pin"], False)
            except DeviceError:  # the run has ended
                return
            self._mark = number, begun.time_ns
        chance, share, fate = self._random.random(), 0.0, "sent"
        if number >= LEAD and chance < order.get("lost", 0):
            share, fate = 1.0, "lost"
        elif number >= LEAD and chance > 1 - order.get("broken", 0):
            share, fate = 0.5, "broken"
        self._tell(self._mark[0], fate)
        self._gobject.g_object_set(
            c_void_p(self._server), b"gvsp-lost-ratio", c_double(share), c_void_p(None)
        )
        data = self._library.arv_buffer_get_data(buffer, None)
        ctypes.memmove(data, MARK.pack(*self._mark, time.monotonic_ns()), MARK.size)


def main() -> None:
    """Be a camera until standard input ends."""
    with tempfile.TemporaryDirectory() as folder:
        camera = _Camera(sys.argv[1], Path(folder))
    while line := sys.stdin.readline():
        camera.run(json.loads(line))


if __name__ == "__main__":
    main()
