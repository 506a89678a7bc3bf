"""Runs benches in tests: writes the files, runs them, and looks for anything left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import Phase, RunResult, RunStatus

ROWS_BENCH = """
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "rows", data_type = "TableRow" }]
[modules.rows]
type = "table"
inputs = { rows = "source.rows" }
"""
"""A script `source.py` that sends rows, and a table of them."""


@dataclass
class Watcher:
    """An observer that keeps everything, and calls back once when the run is in full flow."""

    logs: list[tuple[str, int, str]] = field(default_factory=list)
    printed: list[tuple[str, str]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    on_phase: dict[Phase, Callable[[], None]] = field(default_factory=dict)
    status: RunStatus = field(default_factory=RunStatus)
    """The last one, with the final counts after the run."""

    def on_status(self, status: RunStatus) -> None:
        self.status = status
        if not self.phases or self.phases[-1] is not status.phase:
            self.phases.append(status.phase)
            if call := self.on_phase.pop(status.phase, None):
                call()

    def on_log(self, module: str, level: int, message: str) -> None:
        self.logs.append((module, level, message))

    def on_output(self, module: str, text: str) -> None:
        self.printed.append((module, text))

    def log_text(self) -> str:
        return "\n".join(f"{module}: {text}" for module, _, text in self.logs)


@dataclass
class BenchRunner:
    """A bench in a folder of its own."""

    folder: Path
    watcher: Watcher = field(default_factory=Watcher)
    engine: Engine | None = None

    def write(self, bench: str, **scripts: str) -> BenchRunner:
        """Write the bench file and its scripts (keyword `loop` becomes loop.py)."""
        (self.folder / "bench.toml").write_text(bench)
        for name, text in scripts.items():
            (self.folder / f"{name}.py").write_text(text)
        return self

    def run(
        self,
        seconds: float | None = 1.0,
        *,
        overrides: tuple[str, ...] = (),
        out_dir: Path | None = None,
        **options: object,
    ) -> RunResult:
        """Run the bench in this process and thread, in the kind of time of its file."""
        bench = load_bench(self.folder / "bench.toml", overrides=overrides)
        run_options = RunOptions(
            duration_s=seconds,
            out_dir=out_dir or self.folder / "rec",
            **options,  # type: ignore[arg-type]
        ).in_time_of(bench)
        self.engine = Engine(bench, run_options, self.watcher)
        return self.engine.run()

    def when_running(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something `delay_s` after the run phase began, from a thread of its own."""
        self.watcher.on_phase[Phase.RUN] = lambda: threading.Timer(delay_s, act).start()

    def stop_when(self, seen: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Ask the run to end when something was seen in its log or counts, or after a limit."""
        deadline = time.monotonic() + limit_s
        while not seen() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.stop()

    def stop(self) -> None:
        """Ask the run to end."""
        assert self.engine is not None
        self.engine.request_stop("the test asked")


def worker_pid(module: str) -> int:
    """Return the process id of a module's worker."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # another one that has just ended
            if process.name() == f"ml:{module}"[:15]:
                return int(process.pid)
    raise AssertionError(f"no worker of module '{module}' runs")


def descendants() -> list[str]:
    """Return the processes that this one has started and that still run."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            found.append(f"{process.pid} {process.name()} {process.cmdline()[:4]}")
        except psutil.NoSuchProcess:
            continue
    return found


@contextmanager
def nothing_left_behind(runner: BenchRunner) -> Iterator[None]:
    """Check that the processes and work folder of a runner's run are gone."""
    before = descendants()
    yield
    deadline = time.monotonic() + 20
    while left := [process for process in descendants() if process not in before]:
        if time.monotonic() > deadline:
            raise AssertionError(f"processes left behind: {left}")
        time.sleep(0.05)
    if runner.engine is None or runner.engine.work_dir is None:
        return
    assert not runner.engine.work_dir.exists()
