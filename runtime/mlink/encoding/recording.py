"""Encodes a whole recording: one process per file, a limited number at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
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
from mlink.storage.failures import UNEXPECTED, damage_of
from mlink.storage.manifest import ATTRIBUTES, read_toml, write_toml
from mlink.storage.tree import UnitFolder, collection_folder

_END_S = 5.0


class Progress(msgspec.Struct):
    """Progress of one file; `total` is its number of frames.

    The same object is passed again while the file is encoded. `error` and `remedy` are set when it
    fails.
    """

    label: str
    frames: int
    total: int
    done: bool = False
    error: str = ""
    remedy: str = ""


class EncodeReport(msgspec.Struct, kw_only=True):
    """Result: labels of encoded files, and errors of failed ones.

    Files that were encoded before are in neither list.
    """

    path: str
    encoded: list[str] = []
    failed: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether no file failed."""
        return not self.failed


OnProgress = Callable[[Progress], None]


def encode_recording(
    path: Path, *, parallel: int | None = None, on_progress: OnProgress = lambda _progress: None
) -> EncodeReport:
    """Encode all files of a recording that were recorded raw.

    If it is interrupted, each file is either unchanged or encoded.

    Args:
        path: Folder of the recording.
        parallel: Files encoded at the same time; None uses the setting of the recorders.
        on_progress: Called with the progress of each file.

    Raises:
        StorageError: The folder is not a recording, or a process still writes to it.
    """
    refuse_if_in_use(path)
    report = EncodeReport(path=str(path.resolve()))
    with _alone(path):
        _encode_pending(path, report, parallel, on_progress)
    return report


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from encoding the same recording: they would write the same drafts."""
    collection_folder(path)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"another process encodes {path}",
                    remedy="Wait until it has ended: it encodes all videos of the recording.",
                ) from error
        yield
    finally:
        os.close(folder)


def _encode_pending(
    path: Path, report: EncodeReport, parallel: int | None, on_progress: OnProgress
) -> None:
    units = pending_units(path, report.failed)
    jobs: list[Job] = []
    incomplete: set[str] = set()
    for unit, wanted in units:
        try:
            jobs += jobs_of(unit, wanted)
        except UNEXPECTED as error:
            remedy = error.remedy if isinstance(error, StorageError) else ""
            report.failed.append(f"{damage_of(error)}. {remedy}".rstrip())
            incomplete.add(unit.name)
    waiting = [job for job in jobs if not is_encoded(job)]
    at_once = parallel or max((wanted.parallel_count for _, wanted in units), default=1)
    folders = {unit.name: unit for unit, _ in units}
    for encoder in _run_all(waiting, at_once, on_progress):
        job, progress = encoder.job, encoder.progress
        if progress.error:
            report.failed.append(f"{job.label}: {progress.error} {progress.remedy}".rstrip())
            incomplete.add(job.dataset)
        else:
            _describe(folders[job.dataset], encoder.attributes)
            replace_original(job)
            report.encoded.append(job.label)
    for unit, wanted in units:
        if unit.name not in incomplete:
            _finish(unit, wanted)


def _run_all(waiting: list[Job], at_once: int, on_progress: OnProgress) -> Iterator[_Encoder]:
    """Run a process for each job, `at_once` at a time; yield each when it has ended."""
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as running:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < at_once:
                encoder = running.enter_context(_Encoder(waiting.pop(0), on_progress))
                selector.register(encoder.stdout, selectors.EVENT_READ, encoder)
            for key, _ in selector.select():
                if not key.data.read():
                    selector.unregister(key.data.stdout)
                    yield key.data


def _describe(unit: UnitFolder, changed: dict[str, Any]) -> None:
    """Note how a dataset is encoded, before its files are: an interruption must not lose it."""
    attributes = read_toml(unit.file(ATTRIBUTES))
    table = attributes[ATTRIBUTE]
    table.setdefault("recorded_as", attributes.get("encoder", {}).get("codec", ""))
    attributes["encoder"] = changed["encoder"]
    attributes["video"] = attributes.get("video", {}) | changed["video"]
    write_toml(unit.file(ATTRIBUTES), attributes)


def _finish(unit: UnitFolder, wanted: DeferredEncoding) -> None:
    """Mark a dataset as encoded, and remove originals left by an interruption."""
    attributes = read_toml(unit.file(ATTRIBUTES))
    done = msgspec.to_builtins(wanted) | {"state": "done"}
    attributes[ATTRIBUTE] |= {key: value for key, value in done.items() if value is not None}
    write_toml(unit.file(ATTRIBUTES), attributes)
    for name in unit.part_names("data"):
        original = unit.file(f"{Path(name).stem}.mkv")
        if original.name not in unit.registered:
            original.remove()


class _Encoder(ClosesOnExit):
    """The process that encodes one file, and its progress."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self.job = job
        self.attributes: dict[str, Any] = {}
        self.progress = Progress(job.label, 0, job.frames)
        self._on_progress = on_progress
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlink.encoding.file", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # a line in a buffer would not wake the selector
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdout = self._process.stdout
        self._process.stdin.write(msgspec.json.encode(job))
        self._process.stdin.close()
        on_progress(self.progress)

    def read(self) -> bool:
        """Read one line of the process's output; return False at its end."""
        line = self.stdout.readline()
        if line:
            message: dict[str, Any] = msgspec.json.decode(line)
            self.progress.frames = message.get("frames", self.progress.frames)
            if "attributes" in message:
                self.attributes = message["attributes"]
                self.progress.frames, self.progress.done = self.progress.total, True
            self.progress.error = message.get("error", "")
            self.progress.remedy = message.get("remedy", "")
            self._on_progress(self.progress)
            return True
        self._ended = True
        if not self.progress.done and not self.progress.error:
            code = self._process.wait()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self.progress.error = f"its process {how}; the original was kept"
            self.progress.remedy = "Run mlink encode again: it continues with this file."
        self._on_progress(self.progress)
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
