"""Companions of a run: what other packages bring, each with a key of its own in the bench file.

The runtime knows none by name. An entry point of the group `mlink.companions` is named like its
key at the top of the bench file (`faults`, for `[[faults]]`): what stands there is handed to it to
be checked, and again when the run begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mlink.bench.bench import Bench
from mlink.bench.file import Problem, Problems, Table
from mlink.catalog import companion, companion_names
from mlink.errors import MlinkError


class RunView(Protocol):
    """What a companion may know of a run; usable from any thread."""

    work_dir: Path
    recording_dir: Path | None
    run_uuid: bytes

    @property
    def bench(self) -> Bench:
        """The bench that runs."""
        ...

    @property
    def t0_ns(self) -> int:
        """Master time zero on CLOCK_MONOTONIC; 0 before the start."""
        ...

    def wait_running(self, timeout_s: float) -> bool:
        """Wait until all modules have started; False when that takes longer."""
        ...

    def worker_pid(self, module: str) -> int:
        """Return the process of a module; 0 when it has ended or there is none."""
        ...


class Companion(Protocol):
    """Checks its part of the bench file, and acts while a run lasts."""

    def check(self, given: Any, bench: Bench) -> list[Problem]:
        """Return what is wrong in its part of the file."""
        ...

    def accompany(self, given: Any, run: RunView) -> AbstractContextManager[object]:
        """Return a context manager that is entered before the start and left before the stop."""
        ...


def take_companions(table: Table) -> dict[str, Any]:
    """Take the keys of companions out of a bench file's table."""
    return {name: table.pop(name) for name in companion_names() if name in table}


def check_companions(given: Mapping[str, Any], bench: Bench, problems: Problems) -> None:
    """Let each companion check its part."""
    for name, part in given.items():
        try:
            found = companion(name).check(part, bench)
        except MlinkError as error:
            problems.add(f"[{name}]", error.message, error.remedy)
            continue
        for problem in found:
            problems.add(problem.where, problem.what, problem.remedy)
