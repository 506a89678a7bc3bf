"""`canvas` on a real screen: an X server without a monitor, whose memory is looked at."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.bench_runner import BenchRunner

pytestmark = pytest.mark.skipif(
    shutil.which("Xvfb") is None, reason="there is no Xvfb (Debian package xvfb)"
)
COLOR = (30, 200, 90)
SIZE = (320, 240)
BENCH = """
[bench]
name = "window"
[modules.camera]
type = "camera-generic"
device = "images:frames"
framerate = 30
loop = true
[modules.window]
type = "canvas"
inputs = { frames-in = "camera.video" }
"""


@dataclass
class Screen:
    """A screen of 800×600 pixels, kept by the server in a file of XWD's format."""

    name: str
    memory: Path

    def pixels(self) -> NDArray[np.uint8]:
        """Return what is on the screen (BGR)."""
        data = self.memory.read_bytes()
        head = struct.unpack_from(">25I", data)
        size, width, height, row, colors = head[0], head[4], head[5], head[12], head[19]
        rows = np.frombuffer(data, np.uint8, row * height, size + 12 * colors).reshape(height, row)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., :3]

    def shows(self, color: tuple[int, int, int]) -> int:
        """Return how many pixels have a colour."""
        return int((self.pixels() == color).all(2).sum())


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    """An X server, started and ended."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp",
         "-fbdir", str(tmp_path)],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as output:
        number = output.readline().strip()
    assert number, "Xvfb did not start"
    yield Screen(f":{number}", tmp_path / "Xvfb_screen0")
    server.terminate()
    server.wait()


def test_a_window_shows_the_picture_in_its_size_and_the_camera_loses_nothing(
    bench: BenchRunner, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", screen.name)
    folder = bench.folder / "frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.full((SIZE[1], SIZE[0], 3), COLOR, np.uint8))
    seen: list[int] = []

    def look() -> None:
        end = time.monotonic() + 40
        while time.monotonic() < end and not seen:
            if (count := screen.shows(COLOR)) > 0.95 * SIZE[0] * SIZE[1]:
                seen.append(count)
            time.sleep(0.1)
        bench.stop()

    bench.write(BENCH).when_running(0.2, look)
    result = bench.run(60)
    assert result.success, result.failures
    assert seen, "the picture did not appear"
    assert seen[0] <= 1.05 * SIZE[0] * SIZE[1]
    assert result.reports["camera"]["lost"] == 0
    assert float(str(result.reports["window"]["frames_shown"])) > 0
