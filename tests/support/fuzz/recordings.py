"""Recordings with changed files, for everything that reads a recording, and for its repair."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from pathlib import Path

import zarr  # noqa: F401 - its memory is not that of a case
import zstandard

import mlink.recording
from mlink.encoding.jobs import jobs_of, pending_units
from mlink.errors import MlinkError
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.recording.export.export import export_recording
from mlink.recording.times import add_times
from mlink.storage.inspect import inspect_recording
from tests.support.fuzz.harness import mutated
from tests.support.recorded.hostile import every_kind


class Recordings:
    """Recordings with one to three changed files; compressed ones inside as often as outside."""

    def __init__(self, base: Path) -> None:
        self._good = every_kind(base / "good")
        outside = base / "outside"
        outside.mkdir()
        (outside / "x").write_text("a;b\n1;2\ntorn")
        self.watched = [outside, self._good]
        self._place = base / "r"

    def run(self, choose: random.Random) -> None:
        """Let each reader read a recording, and repair it at last."""
        recording, out = self._place / "recording", self._place / "out"
        shutil.copytree(self._good, recording)
        try:
            _change(recording, choose)
            for read in (_verify, _info, _export, _encode, _repair):
                with suppress(MlinkError):
                    read(recording, out)
        finally:
            shutil.rmtree(self._place)


def _change(recording: Path, choose: random.Random) -> None:
    files = sorted(path for path in recording.rglob("*") if path.is_file())
    for path in choose.sample(files, choose.randint(1, 3)):
        data = path.read_bytes()
        inside = None
        if path.suffix == ".zst" and choose.random() < 0.5:
            with suppress(zstandard.ZstdError):
                inside = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if inside is not None:
            path.write_bytes(zstandard.compress(mutated(inside, choose)))
        else:
            path.write_bytes(mutated(data, choose))


def _verify(recording: Path, _out: Path) -> None:
    verify_recording(recording, decode=True)


def _info(recording: Path, _out: Path) -> None:
    summary = inspect_recording(recording)
    with mlink.recording.open(recording) as opened:
        add_times(summary.datasets, opened)


def _export(recording: Path, out: Path) -> None:
    with mlink.recording.open(recording) as opened:
        export_recording(opened, "csv", out, failed=[])


def _encode(recording: Path, _out: Path) -> None:
    for unit, wanted in pending_units(recording, []):
        jobs_of(unit, wanted)


def _repair(recording: Path, _out: Path) -> None:
    repair_recording(recording)
