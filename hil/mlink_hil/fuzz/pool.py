"""Trials in parallel: each in a fork of this process, which has imported what they need.

A child writes its verdict to a pipe, its output to a file, and exits. A child that ends without a
verdict, or that does not end in time, has failed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mlink.closing import ClosesOnExit, signal_at_parents_end
from mlink.worker.forking import warm
from mlink_hil.fuzz.draw import Draw
from mlink_hil.fuzz.trial import Verdict

_CHECK_S = 0.25
_END_S = 10.0
"""Longest wait for children that are asked to end."""
_LAST_BYTES = 2_000
_OUTPUT = "output.txt"


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has ended, and the folder that it has left."""

    number: int
    draw: Draw
    verdict: Verdict
    folder: Path
    """Its recordings, until `forget`."""

    @property
    def failed(self) -> bool:
        """Whether it has failed, or could not take place."""
        return self.verdict.outcome in ("failed", "refused")

    def forget(self) -> None:
        """Remove its recordings."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class _Child:
    number: int
    draw: Draw
    pid: int
    pipe: int
    folder: Path
    began: float
    answer: bytes = b""


class Pool(ClosesOnExit):
    """Makes trials, at most `jobs` at a time; `close` ends those that still run.

    Args:
        attempt: Makes one trial in the child, given the draw and a folder for recordings.
        folder: Receives a folder for each trial.
        jobs: How many trials run at a time.
        limit_s: Longest real time of a trial, in s.
        shown: Whether trials print to the standard error of this process, not to files.
    """

    def __init__(
        self,
        attempt: Callable[[Draw, Path], Verdict],
        folder: Path,
        *,
        jobs: int,
        limit_s: float,
        shown: bool = False,
    ) -> None:
        self._attempt = attempt
        self._folder = folder
        self._jobs = jobs
        self._limit_s = limit_s
        self._shown = shown
        self._children: list[_Child] = []
        self._numbers = itertools.count(1)

    @property
    def has_room(self) -> bool:
        """Whether a further trial may begin."""
        return len(self._children) < self._jobs

    def close(self) -> None:
        """End the trials that still run, as Ctrl-C does; kill those that do not end."""
        for number in (signal.SIGINT, signal.SIGKILL):
            for child in self._children:
                os.kill(child.pid, number)
            deadline = time.monotonic() + _END_S
            while self._children and time.monotonic() < deadline:
                for trial in self.ended():
                    trial.forget()

    def begin(self, draw: Draw) -> int:
        """Begin a trial, and return its number."""
        number = next(self._numbers)
        folder = self._folder / f"trial-{number}"
        folder.mkdir()
        ours, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes before the child handles it must not make it return from here.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            pid = os.fork()
            if pid == 0:
                os.close(ours)
                output = None if self._shown else folder / _OUTPUT
                _be_child(lambda: self._attempt(draw, folder), theirs, output, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(theirs)
        self._children.append(_Child(number, draw, pid, ours, folder, time.monotonic()))
        return number

    def ended(self) -> list[Trial]:
        """Wait a moment for the end of a trial; return those that have ended."""
        ready, _, _ = select.select([child.pipe for child in self._children], [], [], _CHECK_S)
        now, trials = time.monotonic(), []
        for child in list(self._children):
            if child.pipe in ready:
                if more := os.read(child.pipe, 1 << 16):
                    child.answer += more
                else:
                    trials.append(self._finish(child))
            elif now - child.began > self._limit_s:
                os.kill(child.pid, signal.SIGKILL)
                trials.append(self._finish(child, timed_out=True))
        return trials

    def _finish(self, child: _Child, *, timed_out: bool = False) -> Trial:
        self._children.remove(child)
        os.close(child.pipe)
        _, status = os.waitpid(child.pid, 0)
        try:
            verdict = msgspec.json.decode(child.answer, type=Verdict)
        except msgspec.DecodeError:
            code = os.waitstatus_to_exitcode(status)
            how = f"its process ended with exit code {code}"
            if timed_out:
                how = f"it did not end within {self._limit_s:g} s of real time"
            elif code < 0:
                how = f"its process was ended by signal {-code}"
            verdict = Verdict(outcome="failed", reasons=[f"{how}{_last_lines(child.folder)}"])
        (child.folder / _OUTPUT).unlink(missing_ok=True)
        return Trial(child.number, child.draw, verdict, child.folder)


def _last_lines(folder: Path) -> str:
    try:
        text = (folder / _OUTPUT).read_bytes()[-_LAST_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""
    return f"; its last lines:\n{text.strip()}" if text.strip() else ""


def _further(before: set[str]) -> list[str]:
    """Return the modules imported since, of packages of which there were some before."""
    return [name for name in sys.modules if name not in before and name.split(".")[0] in before]


def _be_child(
    attempt: Callable[[], Verdict], pipe: int, output: Path | None, mask: set[signal.Signals | int]
) -> None:
    """Make a trial, write its verdict, and exit; never return."""
    code = 1
    try:
        os.setsid()  # Ctrl-C of a terminal reaches the search only
        parent = os.getppid()
        signal_at_parents_end(signal.SIGINT)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.getppid() != parent:
            os._exit(code)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if output is not None:
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT, 0o600), 2)
        os.dup2(2, 1)
        os.set_inheritable(pipe, False)
        if warm.hashes_are_fixed():
            warm.begin()
        before = set(sys.modules)
        verdict = attempt()
        verdict = msgspec.structs.replace(verdict, imported=_further(before))
        sys.stdout.flush()
        data = msgspec.json.encode(verdict)
        while data:
            data = data[os.write(pipe, data) :]
        code = 0
    except BaseException as error:  # noqa: BLE001 - a child must not return into the search
        with contextlib.suppress(Exception):
            os.write(2, "".join(traceback.format_exception(error)).encode())
    finally:
        os._exit(code)
