"""Companions of a run: parts of other packages that act while a run lasts.

A companion is an entry point of the group `mlink.companions`. Its name is its key at the top level
of the bench file (`faults` for `[[faults]]`). The value of that key is passed to it twice: to be
checked, and when the run begins. The runtime knows no companion by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mlink.bench.bench import Bench
from mlink.bench.file import Problem, Problems, Table
from mlink.catalog import companion, companion_names
from mlink.devices import DeviceEndpoint
from mlink.errors import MlinkError


class VirtualMoments(Protocol):
    """How a companion acts in virtual time; usable from any thread.

    Time stands still while its calls are made, and while a test's own code runs.
    """

    @property
    def now_usec(self) -> int:
        """Master time in µs."""

    def at(self, time_usec: int, call: Callable[[], object]) -> None:
        """Make a call at a master time in µs, before any module has a turn at that time.

        A time that has passed means the present; one after the end of the run is never reached.
        """

    def wake(self, devices: Iterable[str]) -> None:
        """Give the modules that use these devices a turn, at the present time."""

    def hold(self, module: str) -> None:
        """Give a module no turn until `release`; what it waits for is late by then."""

    def release(self, module: str) -> None:
        """Give a module turns again."""

    def settle(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait in real time until `done`; return False after the time-out.

        For what no process does in turns, such as the end of one.
        """


class RunView(Protocol):
    """A companion's view of a run; usable from any thread."""

    work_dir: Path
    recording_dir: Path | None
    run_uuid: bytes
    time_created: datetime | None
    """Creation time that files are given; None is now."""
    virtual: VirtualMoments | None
    """How to act in virtual time; None in real time."""

    @property
    def bench(self) -> Bench:
        """The bench that runs."""

    @property
    def t0_ns(self) -> int:
        """Master time zero on CLOCK_MONOTONIC; 0 before the start."""

    def wait_running(self, timeout_s: float) -> bool:
        """Wait until all modules have started; return False after a timeout."""

    def worker_pid(self, module: str) -> int:
        """Return the process id of a module; 0 when it has ended or there is no such module.

        Companions that inject faults signal this process.
        """

    def report(self, source: str, key: str, value: float | str) -> None:
        """Add a figure to the summary and the recording of the run.

        Args:
            source: What it is of, such as a device.
            key: Its name, ending in its unit.
            value: The figure.
        """

    def hint(self, source: str, text: str) -> None:
        """Add a hint to the summary and the recording of a run that succeeds.

        Args:
            source: What it is about, such as a device.
            text: What may be wrong although nothing has failed, and what to do.
        """


@runtime_checkable
class DeviceWatcher(Protocol):
    """A device provider that watches its devices while a run in real time lasts."""

    def watch(
        self, endpoints: Mapping[str, DeviceEndpoint], run: RunView
    ) -> AbstractContextManager[object]:
        """Return a context manager that spans the run, as `Companion.accompany`.

        Args:
            endpoints: The devices of its scheme by their keys in the bench.
            run: The run, for as long as the context lasts.
        """


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

    def accompany(self, given: Any, run: RunView) -> AbstractContextManager[object]:
        """Return a context manager that spans the run.

        The engine enters it before the modules prepare and leaves it before they are stopped, in a
        thread of the companion's own, and waits at most 30 s for each.

        Args:
            given: The value of its key, which `check` has found valid.
            run: The run, for as long as the context lasts.
        """


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
        problems.add_all(found)
