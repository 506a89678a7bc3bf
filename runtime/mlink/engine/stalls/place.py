"""Finds out where a worker stands that does not go on, or where it crashed: the user's line."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mlink
from mlink.devices import Simulation
from mlink.engine.workers import State, WorkerHandle
from mlink.worker.place import PLACE_SIGNAL, SIMULATION, place_file

_ANSWER_S = 0.5
_LOOK_S = 0.01
_FRAME = re.compile(r'File "(?P<file>[^"]*)", line (?P<line>\d+) in (?P<function>.*)')
_RUNTIME = str(Path(mlink.__file__).resolve().parents[1])
_NOT_THE_USERS = (_RUNTIME + "/mlink/", _RUNTIME + "/syntalos_mlink/", "/lib/python", "<frozen")

_STOPPED_REMEDY = (
    "SIGSTOP, SIGTSTP (Ctrl-Z) or a debugger has stopped it: continue it, or run without that."
)
_HANDLING = (_RUNTIME + "/mlink/worker/input_port.py", ("take", "dispatch"))
"""The functions that call a module with an item."""

Frame = tuple[str, int, str]
"""File, line, function."""


class Place(NamedTuple):
    """Where a worker stands."""

    text: str = ""
    """A clause for a message; "" if that is not known."""
    in_item: bool = False
    """Whether its module handles an item."""
    remedy: str = ""
    """What the user can do about that; "" if it depends on the module."""

    @property
    def clause(self) -> str:
        """The text as the end of a sentence."""
        return f": {self.text}" if self.text else ""


def place_of(worker: WorkerHandle, work_dir: Path, bench_dir: Path) -> Place:
    """Return where a worker stands.

    Args:
        worker: The worker.
        work_dir: The run's folder.
        bench_dir: The bench's folder: its files are the user's.
    """
    if not worker.pid or not worker.alive:
        return Place()
    status = _status(worker.pid)
    if status.get("State", "").startswith(("T", "t")):
        pid = worker.pid
        text = f"its process {pid} is stopped (to continue it: kill -CONT {pid})"
        return Place(text, remedy=_STOPPED_REMEDY)
    frames = _frames(_ask(worker.pid, worker.name, work_dir)) if _answers(status) else []
    if text := describe(frames, bench_dir):
        file, functions = _HANDLING
        in_item = any(frame[0] == file and frame[2] in functions for frame in frames)
        return Place(f"it stands at {text}", in_item)
    if status.get("State", "").startswith("D"):
        return Place(
            "it waits for a disk or a driver, in a call of the kernel that cannot be interrupted",
            remedy="Look for errors of the device or disk in `dmesg`, and check its cable.",
        )
    if worker.config.type.program is not None and worker.state < State.LOADED:
        return Place(
            "its program has not called init_link()",
            remedy="Let the program call init_link() first, before what takes long.",
        )
    return Place()


def place_of_devices(simulation: Simulation, work_dir: Path, bench_dir: Path) -> Place:
    """Return where the program of simulated devices stands, as `place_of`."""
    if not simulation.pid or not _answers(_status(simulation.pid)):
        return Place()
    frames = _frames(_ask(simulation.pid, SIMULATION, work_dir))
    return Place(f"it stands at {text}" if (text := describe(frames, bench_dir)) else "")


def crash_of(worker: WorkerHandle, work_dir: Path, bench_dir: Path) -> str:
    """Return where compiled code that a worker called has crashed, as `place_of`; "" otherwise."""
    try:
        text = place_file(work_dir, worker.name).read_text(errors="replace")
    except OSError:
        return ""
    _, crashed, dump = text.rpartition("Fatal Python error")
    of_thread = dump.partition("Current thread")[2].partition("\n\n")[0]
    frames = _frames(of_thread) if crashed else []
    return f"it stood at {where}" if (where := describe(frames, bench_dir)) else ""


def describe(frames: Sequence[Frame], bench_dir: Path) -> str:
    """Return the innermost line of the user's, and the innermost of all if that is another.

    Args:
        frames: The calls of a thread, the most recent first.
        bench_dir: The bench's folder.
    """
    if not frames:
        return ""
    own = next(
        (frame for frame in frames if not any(part in frame[0] for part in _NOT_THE_USERS)), None
    )
    texts = [_text(frame, bench_dir) for frame in (own, frames[0]) if frame is not None]
    return ", in ".join(dict.fromkeys(texts))


def _text(frame: Frame, bench_dir: Path) -> str:
    file, line, function = frame
    path = Path(file)
    shown = path.relative_to(bench_dir) if path.is_relative_to(bench_dir) else path.name
    return f"{shown}:{line} ({function})" if function != "<module>" else f"{shown}:{line}"


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _answers(status: dict[str, str]) -> bool:
    """Whether the process handles the signal: to one that does not it would be deadly."""
    caught = int(status.get("SigCgt", "0"), 16)
    return bool(caught >> (PLACE_SIGNAL - 1) & 1)


def _ask(pid: int, name: str, work_dir: Path) -> str:
    """Request the place and return the main thread's calls; "" without an answer in time."""
    file = place_file(work_dir, name)
    try:
        before = file.stat().st_size
        with file.open() as opened:
            thread, _, main_thread = opened.readline().strip().partition(" ")
        if not thread.isdecimal():
            return ""
        ctypes.CDLL(None).tgkill(pid, int(thread), PLACE_SIGNAL)
        until_s = time.monotonic() + _ANSWER_S
        text = ""
        while time.monotonic() < until_s:
            time.sleep(_LOOK_S)
            longer = file.read_bytes()[before:].decode(errors="replace")
            if longer and longer == text:
                break
            text = longer
    except OSError:
        return ""
    return text.partition(f"Thread {main_thread} ")[2].partition("\n\n")[0]


def _frames(text: str) -> list[Frame]:
    return [
        (found["file"], int(found["line"]), found["function"]) for found in _FRAME.finditer(text)
    ]
