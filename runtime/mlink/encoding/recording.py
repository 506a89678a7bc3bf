"""Leads the encoding of a whole recording: a process per file, so many at a time."""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlink.closing import ClosesOnExit
from mlink.encoding.file import is_encoded, replace_original
from mlink.encoding.jobs import Job, jobs_of, pending_units
from mlink.errors import StorageError
from mlink.modules.video.deferred import ATTRIBUTE, DeferredEncoding
from mlink.recording.care.in_use import refuse_if_in_use
from mlink.storage.manifest import ATTRIBUTES, read_toml, write_toml
from mlink.storage.tree import UnitFolder
from mlink.storage.tsync_reader import read_tsync

_END_S = 5.0


class Progress(msgspec.Struct):
    """How far one file is."""

    label: str
    frames: int
    total: int
    done: bool = False
    error: str = ""
    remedy: str = ""


class EncodeReport(msgspec.Struct, kw_only=True):
    """How it went."""

    path: str
    encoded: list[str] = []
    failed: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether nothing is left to be encoded."""
        return not self.failed


Tell = Callable[[Progress], None]


def encode_recording(
    path: Path, *, parallel: int | None = None, tell: Tell = lambda _progress: None
) -> EncodeReport:
    """Encode what was recorded raw; StorageError when `path` is no recording, or is written to.

    `parallel` files at a time, by default as many as the recorders' setting says. `tell` is called
    with the progress of each file. Interrupted, it leaves each file either as it was or encoded.
    """
    refuse_if_in_use(path)
    report = EncodeReport(path=str(path.resolve()))
    units = pending_units(path)
    jobs: list[Job] = []
    incomplete: set[str] = set()
    for unit, wanted in units:
        try:
            jobs += jobs_of(unit, wanted)
        except StorageError as error:
            report.failed.append(f"{error.message}. {error.remedy}")
            incomplete.add(unit.name)
    waiting = [job for job in jobs if not is_encoded(job)]
    at_once = parallel or max((wanted.parallel_count for _, wanted in units), default=1)
    encoders: dict[str, dict[str, Any]] = {}
    for encoder in _run_all(waiting, at_once, tell):
        job, progress = encoder.job, encoder.progress
        if progress.error:
            report.failed.append(f"{job.label}: {progress.error} {progress.remedy}".rstrip())
            incomplete.add(job.dataset)
        else:
            replace_original(job)
            report.encoded.append(job.label)
            encoders[job.dataset] = encoder.attributes
    for unit, wanted in units:
        if unit.name not in incomplete:
            _finish(unit, wanted, encoders.get(unit.name))
    return report


def _run_all(waiting: list[Job], at_once: int, tell: Tell) -> Iterator[_Encoder]:
    """Run a process for each job, so many at a time; yield each that has ended."""
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as running:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < at_once:
                encoder = running.enter_context(_Encoder(waiting.pop(0), tell))
                selector.register(encoder.stdout, selectors.EVENT_READ, encoder)
            for key, _ in selector.select():
                if not key.data.read():
                    selector.unregister(key.data.stdout)
                    yield key.data


def _finish(unit: UnitFolder, wanted: DeferredEncoding, encoder: dict[str, Any] | None) -> None:
    """Note that a dataset is encoded, and remove originals that an interruption left."""
    attributes = read_toml(unit.path / ATTRIBUTES)
    done = msgspec.to_builtins(wanted) | {"state": "done"}
    table = {key: value for key, value in done.items() if value is not None}
    if encoder is not None:
        table["recorded_as"] = attributes.get("encoder", {}).get("codec", "")
        attributes["encoder"] = encoder
    attributes[ATTRIBUTE] = table
    write_toml(unit.path / ATTRIBUTES, attributes)
    for name in unit.part_names("data"):
        original = (unit.path / name).with_suffix(".mkv")
        if original.name not in unit.registered:
            original.unlink(missing_ok=True)


class _Encoder(ClosesOnExit):
    """One file's process, and what it has told so far."""

    def __init__(self, job: Job, tell: Tell) -> None:
        self.job = job
        self.attributes: dict[str, Any] = {}
        total = len(read_tsync(Path(job.folder) / job.tsync).times)
        self.progress = Progress(job.label, 0, total)
        self._tell = tell
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlink.encoding.file"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # a line left in a buffer would not wake the selector
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdout = self._process.stdout
        self._process.stdin.write(msgspec.json.encode(job))
        self._process.stdin.close()
        tell(self.progress)

    def read(self) -> bool:
        """Take a line; return False when it was the last."""
        line = self.stdout.readline()
        if line:
            said: dict[str, Any] = msgspec.json.decode(line)
            self.progress.frames = said.get("frames", self.progress.frames)
            if "encoder" in said:
                self.attributes = said["encoder"]
                self.progress.frames, self.progress.done = self.progress.total, True
            self.progress.error = said.get("error", "")
            self.progress.remedy = said.get("remedy", "")
            self._tell(self.progress)
            return True
        self._ended = True
        if not self.progress.done and not self.progress.error:
            code = self._process.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self.progress.error = f"its process {how}; the original was kept"
            self.progress.remedy = "Encode again: mlink encode goes on with what is left."
        self._tell(self.progress)
        return False

    def close(self) -> None:
        """Wait for the process; one that still encodes, because of an exception, is ended."""
        if not self._ended:
            self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.stdout.close()
