"""Bench files, devices files and projects of Syntalos with changes, for all that reads them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlink.bench import load_bench
from mlink.errors import MlinkError
from mlink_hil.syct.folder import import_project
from tests.support import ROOT
from tests.support.fuzz.harness import mutated
from tests.support.syct import add

_LAB = b"""
[devices]
uno = "virtual:uno"
dut = "virtual:lamp"
cam = "virtual:scene"
[modules.cam]
framerate = 30
size = [320, 240]
[wiring]
"uno.2" = "dut.7"
[host]
slow = 2.5
"""
_PROJECT = {
    "main.toml": b"version_format = '1'\nversion_app = '3.1.1'\nexperiment_id = 'x'\n"
    b"[storage]\norder = ['a', 'b']\n[interval_run]\ncount = 3\nduration_min = 1.5\n",
    "subjects.toml": b"[[subjects]]\nid = 'm1'\ngroup = 'g'\nactive = true\n",
    "experimenters.toml": b"[[people]]\nname = 'A'\nemail = 'a@b.c'\n",
    "0/info.toml": b"id = 'pyscript'\nname = 'My Script'\n[subscriptions]\n"
    b"frames = ['Cam', 'video']\n",
    "0/pyscript.toml": b"ports_in = [{id = 'frames', title = 'F', data_type = 'Frame'}]\n"
    b"ports_out = [{id = 'rows', title = 'R', data_type = 'TableRow'}]\n",
    "0/pyscript.dat": b"import syntalos_mlink as syl\nrows = syl.get_output_port('rows')\n",
    "001-camera/info.toml": b"id = 'camera-generic'\nname = 'Cam'\n",
    "001-camera/camera-generic.toml": b"width = 640\nheight = 480\nfps = 30\ncamera = 0\n",
    "2/info.toml": b"id = 'videorecorder'\nname = 'Video'\n[subscriptions]\n"
    b"frames-in = ['Cam', 'video']\n",
    "2/videorecorder.toml": b"video-codec = 'VP9'\nvideo-container = 'mkv'\nlossless = true\n",
    "3/info.toml": b"id = 'firmata-io'\nname = 'Board'\n",
    "3/firmata-io.toml": b"serial_port = '/dev/ttyACM0'\n",
}
_PACKED: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress, lzma.compress)


class Benches:
    """A bench of hil/benches with changes, or a devices file for it, or an override."""

    def __init__(self, base: Path) -> None:
        self._place = base / "bench"
        shutil.copytree(
            ROOT / "hil/benches", self._place, ignore=shutil.ignore_patterns("recordings")
        )
        self._good = {path: path.read_bytes() for path in self._place.glob("*/bench.toml")}
        self._lab = base / "lab.toml"
        outside = base / "outside"
        outside.mkdir()
        (outside / "x").write_text("[devices]\n")
        self.watched = [outside, self._place]

    def run(self, choose: random.Random) -> None:
        """Check a bench as `mlink check` does."""
        path = choose.choice(sorted(self._good))
        devices = choose.random() < 0.4
        self._lab.write_bytes(mutated(_LAB, choose))
        if not devices:
            path.write_bytes(mutated(self._good[path], choose))
        words = self._good[path].decode().split()
        override = f"{choose.choice(words)}.{choose.choice(words)}={choose.choice(words)}"
        try:
            with suppress(MlinkError):
                load_bench(path, devices=self._lab if devices else None)
            with suppress(MlinkError):
                load_bench(path, overrides=[override])
        finally:
            path.write_bytes(self._good[path])


class Projects:
    """A project of Syntalos with changes to a member, or to the archive, or to its compression."""

    def __init__(self, base: Path) -> None:
        self._place = base / "p"
        outside = base / "outside"
        outside.mkdir()
        (outside / "x").write_text("x")
        self.watched = [outside]

    def run(self, choose: random.Random) -> None:
        """Import a project."""
        self._place.mkdir()
        try:
            data = _archive(choose)
            if choose.random() < 0.3:
                data = mutated(data, choose)
            data = choose.choice(_PACKED)(data)
            if choose.random() < 0.2:
                data = mutated(data, choose)
            path = self._place / "a.syct"
            path.write_bytes(data)
            import_project(path, self._place / "out")
        finally:
            shutil.rmtree(self._place)


def _archive(choose: random.Random) -> bytes:
    changed = choose.choice(sorted(_PROJECT))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in _PROJECT.items():
            add(tar, name, mutated(content, choose) if name == changed else content)
    return packed.getvalue()
