"""Runs the bench once, disturbs it, and collects all that is to be looked at afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mlink.engine.setup.workdir import remove_stale_runs
from mlink_hil.faults.slow_writes import SlowWrites
from tests.support import ROOT
from tests.torture.injections import RUN_SEC, SIGNALS, Injection

BENCH = Path(__file__).parent / "bench" / "bench.toml"
HANG_SEC = 240.0
"""A run that takes longer hangs, also on a busy machine."""
LEFT_SEC = 3.0
"""How long processes may outlive the engine."""
LEFT_KILLED_SEC = 20.0
"""The same when the engine was killed: the workers drain and close their files first."""
MISSED = "ended"
"""The phase of an outcome that was not disturbed."""
_MARK = "MLINK_TORTURE"
_DISK_KB = 40_000
_HOGS = 4
_BURN = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
"""
_TARGET_SEC = 30.0
"""How long a process that is meant may take to appear."""
_LOOK_SEC = 0.01


@dataclass(slots=True)
class Outcome:
    """All that a disturbed run showed and left."""

    injection: Injection
    folder: Path
    phase: str = MISSED
    """The phase in which it was disturbed; MISSED: it was over before."""
    phases: list[str] = field(default_factory=list)
    """All phases that the run entered."""
    at: float = 0.0
    """When (time.monotonic)."""
    code: int = 0
    hung: bool = False
    result: dict[str, Any] | None = None
    """What `--json` printed."""
    text: str = ""
    """What it printed otherwise."""
    left: list[str] = field(default_factory=list)
    """Processes and files that should have gone."""
    truth: list[tuple[int, int, float]] = field(default_factory=list)
    """Rows that the script sent: number, master time in µs, time.monotonic."""
    received: dict[str, int] = field(default_factory=dict)
    """"module.port" → items that the engine knew to be received when the run was disturbed."""

    @property
    def recording(self) -> Path | None:
        """The recording's folder."""
        found = list((self.folder / "rec").glob("*/*/manifest.toml"))
        return found[0].parent if found else None


@contextlib.contextmanager
def disturbed(injection: Injection) -> Iterator[Outcome]:
    """Run the bench in a folder of its own, with the disturbance; the folder goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="mlt-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for part in ("rec", "run", "tmp"):
            (folder / part).mkdir()
        if (injection.kind, injection.target) == ("full", "disk"):
            stack.enter_context(_mounted(folder / "rec", f"size={_DISK_KB}k"))
        if injection.target == "run folder":
            stack.enter_context(_mounted(folder / "run", "size=1m,nr_inodes=40"))
        yield _Disturbance(injection, folder).run()


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class _Disturbance:
    def __init__(self, injection: Injection, folder: Path) -> None:
        self._injection = injection
        self._folder = folder
        self._outcome = Outcome(injection, folder)
        self._ballast: list[Path] = []

    def run(self) -> Outcome:
        """Run, disturb, wait for the end, look at what is left."""
        outcome, folder = self._outcome, self._folder
        environment = os.environ | {
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "TMPDIR": str(folder / "tmp"),
            "MLINK_TORTURE_TRUTH": str(folder / "truth"),
            _MARK: folder.name,
        }
        environment.pop("DISPLAY", None)
        command = [sys.executable, "-m", "tests.torture.hooked_mlink", str(folder / "status"),
                   "run", str(BENCH), "--for", str(RUN_SEC), "--out", str(folder / "rec"),
                   "--json"]  # fmt: skip
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            engine = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, start_new_session=True,
            )  # fmt: skip
        try:
            with self._injected(psutil.Process(engine.pid)):
                outcome.code = engine.wait(HANG_SEC)
        except subprocess.TimeoutExpired:
            outcome.hung = True
        outcome.left = self._left_processes()
        if engine.poll() is None:
            engine.kill()
            engine.wait()
        for path in self._ballast:
            path.unlink(missing_ok=True)
        outcome.left += self._left_files()
        self._read()
        return outcome

    # the disturbance ------------------------------------------------------------------------

    @contextlib.contextmanager
    def _injected(self, engine: psutil.Process) -> Iterator[None]:
        """Disturb the run at its moment; in the end nothing disturbs any more."""
        with contextlib.ExitStack() as stack:
            if self._reached(engine):
                time.sleep(self._injection.delay_sec)
                targets = self._targets(engine)
                outcome = self._outcome
                status = self._status()
                if engine.status() != psutil.STATUS_ZOMBIE and targets:
                    outcome.phase = status[-1]["phase"] if status else "import"
                    outcome.received = status[-1]["received"] if status else {}
                    outcome.at = time.monotonic()
                    self._act(targets, stack)
            yield

    def _reached(self, engine: psutil.Process) -> bool:
        """Wait until the phase has begun; return False if the run ended before."""
        wanted = self._injection.phase
        while engine.status() != psutil.STATUS_ZOMBIE:
            phases = [line["phase"] for line in self._status()]
            if wanted in phases or "done" in phases:
                return True
            time.sleep(_LOOK_SEC)
        return False

    def _targets(self, engine: psutil.Process) -> list[psutil.Process]:
        """Return the processes that are meant; waits a while for one that is still to come."""
        deadline = time.monotonic() + _TARGET_SEC
        while engine.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            if found := self._found(engine):
                return found
            time.sleep(_LOOK_SEC)
        return []

    def _found(self, engine: psutil.Process) -> list[psutil.Process]:
        target, module = self._injection.target, self._injection.module
        if target == "engine" or (not module and target not in
                                  ("fork server", "simulator", "everything")):  # fmt: skip
            return [engine]
        try:
            below = engine.children(recursive=True)
            if target == "everything":
                return [engine, *below]
            for process in below:
                command = " ".join(process.cmdline())
                own = process.ppid() == engine.pid
                if (
                    (target == "fork server" and own and "mlink.worker.forking" in command)
                    or (target == "simulator" and own and "mlink_hil.sim" in command)
                    or (module and process.name() == f"ml:{module}"[:15])
                    or (module == "program" and not own and command.endswith("bench/program.py"))
                ):
                    return [process]
        except psutil.NoSuchProcess:
            pass
        return []

    def _act(self, targets: list[psutil.Process], stack: contextlib.ExitStack) -> None:
        kind, length = self._injection.kind, self._injection.length_sec
        pids = [process.pid for process in targets]
        if kind in SIGNALS:
            if len(pids) > 1:  # nobody sees another die
                _send(pids, signal.SIGSTOP)
            _send(pids, SIGNALS[kind])
        elif kind == "pause":
            _send(pids, signal.SIGSTOP)
            time.sleep(length)
            _send(pids, signal.SIGCONT)
        elif kind == "interrupt-twice":
            _send(pids, signal.SIGINT)
            time.sleep(length)
            _send(pids, signal.SIGINT)
        elif kind == "hogs":
            for _ in range(_HOGS):
                hog = subprocess.Popen([sys.executable, "-c", _BURN, str(length)])
                stack.callback(hog.wait)
        elif kind == "slow":
            slow = SlowWrites(pids[0], self._folder / "rec", 100_000, 0.005)
            with contextlib.suppress(Exception):  # it may have ended just now
                slow.start()
                stack.callback(slow.stop)
        elif self._injection.target == "disk":
            self._fill(self._folder / "rec" / ".ballast")
        else:
            self._use_up_names(self._folder / "run")

    def _fill(self, path: Path) -> None:
        self._ballast.append(path)
        with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def _use_up_names(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            for number in range(1000):
                path = folder / f".ballast{number}"
                path.touch()
                self._ballast.append(path)

    # what is left ---------------------------------------------------------------------------

    def _status(self) -> list[dict[str, Any]]:
        path = self._folder / "status"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines(keepends=True)
                if line.endswith("\n")]  # fmt: skip

    def _left_processes(self) -> list[str]:
        limit = LEFT_KILLED_SEC if self._outcome.code == -signal.SIGKILL else LEFT_SEC
        deadline = time.monotonic() + limit
        while (found := self._marked()) and time.monotonic() < deadline:
            time.sleep(0.05)
        named = [f"process {_name(process)}" for process in found]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return named

    def _marked(self) -> list[psutil.Process]:
        """Return all processes that descend from the run, whoever their parent is now."""
        mark = f"{_MARK}={self._folder.name}".encode()
        found = []
        for process in psutil.process_iter():
            try:
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                    found.append(process)
            except OSError:
                continue
        return found

    def _left_files(self) -> list[str]:
        runs = self._folder / "run" / "mlink"
        if self._outcome.code == -signal.SIGKILL and runs.exists():
            remove_stale_runs(runs)  # as the next run does
            with contextlib.suppress(OSError):
                runs.rmdir()
        return [
            f"file {path}" for part in ("run", "tmp") for path in (self._folder / part).rglob("*")
        ]

    def _read(self) -> None:
        outcome, folder = self._outcome, self._folder
        outcome.phases = [line["phase"] for line in self._status()]
        printed = (folder / "out").read_text()
        with contextlib.suppress(json.JSONDecodeError):
            outcome.result = json.loads(printed)
        outcome.text = (folder / "err").read_text() + ("" if outcome.result else printed)
        if (folder / "truth").exists():
            for line in (folder / "truth").read_text().splitlines():
                number, usec, monotonic_ns = map(int, line.split())
                outcome.truth.append((number, usec, monotonic_ns / 1e9))


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _name(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.name()} {' '.join(process.cmdline()[:4])}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (ending)"
