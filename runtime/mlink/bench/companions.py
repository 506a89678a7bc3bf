"""Companions of a run: parts of other packages that act while a run lasts.

A companion is an entry point of the group `mlink.companions`. Its name is its key at the top level
of the bench file (`faults` for `[[faults]]`). The value of that key is passed to it twice: to be
checked, and when the run begins. The runtime knows no companion by name.
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
    """A companion's view of a run; usable from any thread."""

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
        """Wait until all modules have started; return False after a timeout."""
        ...

    def worker_pid(self, module: str) -> int:
        """Return the process id of a module; 0 when it has ended or there is no such module.

        Companions that inject faults signal this process.
        """
        ...


class Companion(Protocol):
    """Contract of a companion: checks its part of the bench file, and acts while a run lasts.

    An entry point names an object of this kind, or a class without constructor arguments.
    """

    def check(self, given: Any, bench: Bench) -> list[Problem]:
        """Return the problems in this companion's part of the bench file.

        Args:
            given: The value of its key, as TOML gives it.
            bench: The bench, whose other parts are valid.

        Returns:
            All problems; `Problem.where` names the key.
        """
        ...

    def accompany(self, given: Any, run: RunView) -> AbstractContextManager[object]:
        """Return a context manager that spans the run.

        The engine enters it before the modules prepare and leaves it before they are stopped, in a
        thread of the companion's own, and waits at most 30 s for each.

        Args:
            given: The value of its key, which `check` has found valid.
            run: The run, for as long as the context lasts.
        """
        ...


def take_companions(table: Table) -> dict[str, Any]:
    """Remove the keys of companions from a bench file's table and return them."""
    return {name: table.pop(name) for name in companion_names() if name in table}


def check_companions(given: Mapping[str, Any], bench: Bench, problems: Problems) -> None:
    """Add the problems that each companion finds in its part of the bench file.

    Args:
        given: Value of each companion's key.
        bench: The bench, whose other parts are valid.
        problems: Receives what is wrong, also when a companion cannot be loaded.
    """
    for name, part in given.items():
        try:
            checker: Companion = companion(name)
            found = checker.check(part, bench)
        except MlinkError as error:
            problems.add(f"[{name}]", error.message, error.remedy)
            continue
        for problem in found:
            problems.add(problem.where, problem.what, problem.remedy)
