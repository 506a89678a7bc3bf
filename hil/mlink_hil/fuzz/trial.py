"""One trial of a search: a bench runs, or tests run, in virtual time with what a seed draws."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlink.cli.live import make_view
from mlink.cli.summary import print_summary
from mlink.engine.options import RunOptions
from mlink.engine.run import run_bench
from mlink.errors import MlinkError
from mlink_hil.fuzz.draw import Draw, disturb

_REASON_LENGTH = 500
_NO_TESTS = 5
"""Exit code of pytest when there is no test."""
_FAILED = 1
_OUR_CLASS = re.compile(r"\Amlink\w*\.[\w.]+: ")
"""Name of an exception that pytest puts before our messages."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried with each seed."""

    bench: Path
    devices: Path | None = None
    overrides: list[str] = []
    for_s: float | None = None
    """Length of a run in seconds of virtual time; tests end by themselves."""
    strict: bool = False
    """Whether losses fail a run."""
    tests: list[str] = []
    """Files, or file::name, which pytest runs; without any the bench runs by itself."""
    shown: bool = False
    """Whether to show the run, and to keep its recording also if it passes."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial ended."""

    outcome: Literal["passed", "failed", "inconclusive", "refused"]
    """"refused": no trial took place, for example because the bench is wrong."""
    reasons: list[str] = []
    """What failed, one text each."""
    remedy: str = ""


def try_once(task: Task, draw: Draw, folder: Path) -> Verdict:
    """Make a trial in this process, which is a child of the search and does nothing else.

    Args:
        task: What to try.
        draw: The seed and its kinds.
        folder: Receives the recordings.
    """
    try:
        return _run_tests(task, draw, folder) if task.tests else _run(task, draw, folder)
    except MlinkError as error:
        return Verdict(outcome="refused", reasons=[error.message], remedy=error.remedy)


def _run(task: Task, draw: Draw, folder: Path) -> Verdict:
    found = disturb(task.bench, draw, devices=task.devices, overrides=task.overrides)
    options = RunOptions(duration_s=task.for_s, out_dir=folder, strict=task.strict)
    options = options.in_time_of(found.bench, seed=draw.seed, key=str(draw))
    view = make_view(found.bench.name, task.for_s, plain=True, quiet=not task.shown)
    with view:
        result = run_bench(found.bench, found.options(options), view)
    if task.shown:
        print_summary(result, view.console)
    if result.success:
        return Verdict(outcome="passed")
    refused = all(not each.module and each.phase == "engine" for each in result.failures)
    return Verdict(
        outcome="refused" if refused and not result.streams else "failed",
        reasons=[_cut(str(each)) for each in result.failures],
        remedy=next((each.remedy for each in result.failures if each.remedy), ""),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _REASON_LENGTH else text[:_REASON_LENGTH] + " …"


def _run_tests(task: Task, draw: Draw, folder: Path) -> Verdict:
    import pytest

    os.environ["PYTEST_TIMEOUT"] = "0"  # of pytest-timeout: it counts real seconds
    arguments = [
        *("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly"),
        *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # this process has imported plugins
        *("--mlink-time=virtual", f"--mlink-fuzz={draw}"),
        f"--mlink-record={'always' if task.shown else 'on-failure'}",
        f"--mlink-out={folder}",
        *([f"--mlink-devices={task.devices}"] if task.devices else []),
        *(f"--mlink-set={each}" for each in task.overrides),
    ]
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        arguments += ["-p", "mlink_hil.plugin"]
    elif importlib.util.find_spec("xdist") is not None:
        arguments += ["-n0"]  # each trial is one process
    seen = _Outcomes()
    code = pytest.main([*arguments, *task.tests], plugins=[seen])
    if code == _NO_TESTS:
        text = f"there is no test in {', '.join(task.tests)}"
        return Verdict(outcome="refused", reasons=[text], remedy="Name a file, or file::test.")
    if seen.failed or code == _FAILED:
        return Verdict(outcome="failed", reasons=seen.failed or ["pytest failed"])
    if code:
        text = f"pytest ended with exit code {int(code)}"
        remedy = f"Run it by hand: pytest {' '.join(task.tests)} --mlink-time virtual"
        return Verdict(outcome="refused", reasons=[text], remedy=remedy)
    if seen.inconclusive:
        return Verdict(outcome="inconclusive", reasons=seen.inconclusive)
    return Verdict(outcome="passed")


class _Outcomes:
    """A plugin of pytest that keeps what failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.inconclusive: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep a failure, or an inconclusive test."""
        if getattr(report, "mlink_outcome", "") == "inconclusive":
            self.inconclusive.append(_reason(report))
        elif report.failed:
            self.failed.append(_reason(report))

    def pytest_collectreport(self, report: Any) -> None:
        """Keep a file that cannot be collected."""
        if report.failed:
            self.failed.append(_reason(report))


def _reason(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    text = _OUR_CLASS.sub("", text, count=1)
    return _cut(f"{report.nodeid.rpartition('/')[2]}: {text.strip()}")
