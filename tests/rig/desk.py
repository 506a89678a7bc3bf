"""Simulated boards on this machine whose serial ports are devices of a guest of the rig.

The boards, the parts wired to them and their firmware run here, in real time. In the guest one
board is behind an FTDI converter, /dev/ttyUSB0. Another is /dev/ttyACM0, through the guest's USB
gadget and the rig's standard input and output. The level of a lamp's line is kept in a file, from
which a camera in the guest chooses its picture.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mlink.devices import DeviceEndpoint
from mlink_drivers.camera.backend import CameraRequest, Stamp
from mlink_hil.control.board import VirtualBoard
from mlink_hil.scene.camera import SceneCamera
from mlink_hil.wiring.together import open_wired
from tests.support.boards.chip_bench import wait_until

FTDI, ACM = "/dev/ttyUSB0", "/dev/ttyACM0"
_LOG = logging.getLogger(__name__)
_PACE = ("--slice-usec", "1000", "--catch-up-usec", "2000000")
"""Long slices, since an emulator needs the processors too. And the boards catch up by up to 2 s
after a pause of this machine, since the guest relies on a steady clock of the boards."""
_SIZE = (640, 480)
_EXPOSED_NSEC = 50_000_000
"""Upper bound of an exposure."""


@dataclass(frozen=True)
class Desk:
    """The hardware to simulate: a board for each cable, and the `[virtual]` parts wired to them."""

    ftdi: str
    acm: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)
    parts_dir: Path = Path()
    scene: str = ""
    """The virtual scene among the parts that the guest's camera films; "" for none."""
    lamp: int = 0
    """Line of the lamp in the scene, on the board behind the FTDI converter."""


@dataclass(frozen=True)
class Cables:
    """The guest's ends of the cables: QEMU's chardev of the FTDI converter, and a socket."""

    ftdi: str
    acm: socket.socket
    slip_usec: Callable[[], float]
    """Returns the time that the boards have skipped because this machine was too slow."""


@contextmanager
def set_up(desk: Desk, folder: Path, shared: Path) -> Iterator[Cables]:
    """Start the boards; sockets go to `folder`, the pictures and the lamp's file to `shared`."""
    with ExitStack() as stack:
        endpoints = _start(stack, desk, folder)
        control = endpoints[desk.ftdi].control
        if desk.scene:
            _photograph(endpoints[desk.scene].address, control, desk.lamp, shared)
            stack.enter_context(_followed(control, desk.lamp, shared / "lamp"))
        listener = folder / "ftdi.sock"
        _join(stack, endpoints[desk.ftdi], f"UNIX-LISTEN:{listener}")
        wait_until(listener.exists)
        ours, theirs = socket.socketpair()
        stack.callback(theirs.close)
        with ours:
            if desk.acm:
                _join(stack, endpoints[desk.acm], f"FD:{ours.fileno()}", ours.fileno())
        yield Cables(f"socket,path={listener}", theirs, partial(_slip_usec, control))


def _start(stack: ExitStack, desk: Desk, folder: Path) -> dict[str, DeviceEndpoint]:
    specs = {name: "virtual:uno" for name in (desk.ftdi, desk.acm) if name}
    if desk.scene:
        specs[desk.scene] = "virtual:scene"
    endpoints = stack.enter_context(
        open_wired(
            specs,
            desk.parts,
            bench_dir=desk.parts_dir,
            work_dir=folder,
            log=_LOG,
            arguments=_PACE,
        )
    )
    assert set(endpoints) == set(specs), "a device of this desk has nothing wired to it"
    return endpoints


def _slip_usec(control: str) -> float:
    with VirtualBoard.connect(control) as board:
        return board.stats().slip_usec


def _join(stack: ExitStack, board: DeviceEndpoint, cable: str, *passed: int) -> None:
    """Connect a board's port to a cable, until the stack is closed."""
    command = ["socat", f"OPEN:{board.address},rawer", cable]
    process = subprocess.Popen(command, pass_fds=passed)
    stack.callback(process.wait)
    stack.callback(process.kill)


def _photograph(scene: str, control: str, lamp: int, into: Path) -> None:
    """Write pictures of a scene, dark.jpg and lit.jpg, with its lamp off and on."""
    camera = SceneCamera()
    try:
        info = camera.open(scene, CameraRequest(size=_SIZE, framerate=30))
        camera.start()
        with VirtualBoard.connect(control) as board:
            for name, level in (("dark", None), ("lit", True)):
                driven = board.drive(lamp, level)
                picture = np.empty(info.shape, info.dtype)
                while True:
                    stamp = camera.grab()
                    if isinstance(stamp, Stamp) and stamp.time_ns > driven.time_ns + _EXPOSED_NSEC:
                        break
                camera.retrieve(picture)
                cv2.imwrite(str(into / f"{name}.jpg"), picture)
            board.drive(lamp, None)
    finally:
        camera.close()


@contextmanager
def _followed(control: str, line: int, path: Path) -> Iterator[None]:
    """Write a line's level, "0" or "1", to a file whenever it changes."""
    over = threading.Event()
    file = os.open(path, os.O_CREAT | os.O_WRONLY)

    def follow() -> None:
        with VirtualBoard.connect(control) as watched:
            watched.watch([line])
            os.pwrite(file, b"%d" % watched.read(line).level, 0)
            while not over.is_set():
                if edge := watched.wait_edge(timeout_sec=0.5):
                    os.pwrite(file, b"%d" % edge.level, 0)

    thread = threading.Thread(target=follow, name="lamp")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.close(file)
