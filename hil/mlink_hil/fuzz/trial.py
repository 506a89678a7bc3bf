"""One trial of a search: a bench runs, or tests run, in virtual time with what a seed draws."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from pluggy import HookimplMarker

from mlink.cli.terminal.live import make_view
from mlink.cli.terminal.summary import print_summary
from mlink.engine.options import RunOptions
from mlink.engine.run import run_bench
from mlink.errors import BenchError, MlinkError
from mlink_hil.fuzz.draw import Draw, disturb

_REASON_LENGTH = 500
_NO_TESTS = 5
"""Exit code of pytest when there is no test."""
_FAILED, _INTERRUPTED = 1, 2
_OUR_CLASS = re.compile(r"\Amlink\w*\.[\w.]+: ")
"""Name of an exception that pytest puts before our messages."""
pytest_hook = HookimplMarker("pytest")


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
    imported: list[str] = []
    """Modules that the trial has imported, besides those that were there."""


Attempt: TypeAlias = Callable[[Draw, Path], Verdict]
"""Makes one trial, given the draw and a folder for its recordings."""


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

    given = [f"--mlink-fuzz={draw}", f"--mlink-out={folder}"]
    seen = _Outcomes()
    return _verdict(task, pytest.main([*_arguments(task), *given, *task.tests], [seen]), seen)


def with_tests_collected(task: Task, output: Path, use: Callable[[Attempt], None]) -> None:
    """Let pytest collect the tests once, in this process, and call `use` with what runs them.

    Trials in forks of this process then cost the tests alone: plugins, `conftest.py` and the
    tests' files are there already.

    Args:
        task: What to try, with tests.
        output: File that receives what pytest prints until then.
        use: Called with what makes a trial, in a fork. What it raises is raised here.

    Raises:
        BenchError: There are no such tests, or pytest has ended before it would run them.
    """
    import pytest

    collected = _Collected(task, use)
    with _output_to(output) as collected.restored:
        code = pytest.main([*_arguments(task), *task.tests], [collected, collected.seen])
    if collected.error is not None:
        raise collected.error
    if not collected.used:
        found = _verdict(task, code or _NO_TESTS, collected.seen)
        raise BenchError("\n".join(found.reasons), remedy=found.remedy)


def _arguments(task: Task) -> list[str]:
    """Return the arguments of pytest that all trials have, without the tests."""
    os.environ["PYTEST_TIMEOUT"] = "0"  # of pytest-timeout: it counts real seconds
    arguments = [
        *("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly"),
        *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # this process has imported plugins
        "--mlink-time=virtual",
        f"--mlink-record={'always' if task.shown else 'on-failure'}",
        *([f"--mlink-devices={task.devices}"] if task.devices else []),
        *(f"--mlink-set={each}" for each in task.overrides),
    ]
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        arguments += ["-p", "mlink_hil.plugin"]
    elif importlib.util.find_spec("xdist") is not None:
        arguments += ["-n0"]  # each trial is one process
    return arguments


def _verdict(task: Task, code: int, seen: _Outcomes) -> Verdict:
    """Return the verdict of a session by its exit code and its outcomes."""
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
    if not seen.passed:
        text = "no test has run: all were skipped"
        remedy = "Name tests that run in virtual time, with the devices of the bench."
        return Verdict(outcome="refused", reasons=[text, *seen.skipped], remedy=remedy)
    if not seen.uses_bench:
        text = f"no test in {', '.join(task.tests)} uses the fixture `bench`: nothing is disturbed"
        remedy = 'Write def test_name(bench): and @pytest.mark.bench("bench.toml") above it.'
        return Verdict(outcome="refused", reasons=[text], remedy=remedy)
    return Verdict(outcome="passed")


@contextmanager
def _output_to(path: Path) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Write what this process prints into a file; yields what lets it print as before."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(1), os.dup(2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def lead(targets: list[int]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, target in enumerate(targets, 1):
            os.dup2(target, number)

    @contextmanager
    def restored() -> Iterator[None]:
        lead(before)
        try:
            yield
        finally:
            lead([file, file])

    lead([file, file])
    try:
        yield restored
    finally:
        lead(before)
        for fd in (*before, file):
            os.close(fd)


class _Collected:
    """A plugin of pytest: where it would run the tests, forks do, as often as wanted.

    Args:
        task: What to try.
        use: Called with what makes a trial, in a fork.
    """

    def __init__(self, task: Task, use: Callable[[Attempt], None]) -> None:
        self.seen = _Outcomes()
        self.used = False
        self.error: BaseException | None = None
        """What `use` has raised: pytest would make something else of it."""
        self.restored: Callable[[], AbstractContextManager[None]] = nullcontext
        self._task = task
        self._use = use

    @pytest_hook(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Call `use` in place of running the tests; in a fork let pytest run them."""
        if self.used:
            return None
        if not session.items and not self.seen.failed:
            return True  # there are no tests
        self.used = True
        with self.restored():
            try:
                self._use(lambda draw, folder: self._attempt(session, draw, folder))
            except BaseException as error:  # noqa: BLE001 - it is raised again outside of pytest
                self.error = error
        return True

    def _attempt(self, session: Any, draw: Draw, folder: Path) -> Verdict:
        """Run the collected tests in this fork; the session itself ends in the search alone."""
        import pytest

        session.config.option.mlink_fuzz = str(draw)
        session.config.option.mlink_out = str(folder)
        code = 0
        try:
            session.config.hook.pytest_runtestloop(session=session)
            code = _FAILED if session.testsfailed else 0
        except session.Failed:
            code = _FAILED
        except pytest.exit.Exception as error:
            code = _INTERRUPTED if error.returncode is None else error.returncode
        except KeyboardInterrupt:  # also of pytest itself, after errors of the collection
            code = _INTERRUPTED
        return _verdict(self._task, code, self.seen)


class _Outcomes:
    """A plugin of pytest that keeps what failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.inconclusive: list[str] = []
        self.skipped: list[str] = []
        self.passed = 0
        """Tests that have run to their end, also those that were expected to fail."""
        self.uses_bench = False
        """Whether a test has the fixture of the run that is disturbed."""

    def pytest_collection_finish(self, session: Any) -> None:
        """Look for tests that run a bench."""
        self.uses_bench = any("bench" in getattr(e, "fixturenames", ()) for e in session.items)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep a failure, or an inconclusive test."""
        if getattr(report, "mlink_outcome", "") == "inconclusive":
            self.inconclusive.append(_reason(report))
        elif report.failed:
            self.failed.append(_reason(report))
        elif report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(_reason(report))
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: Any) -> None:
        """Keep a file that cannot be collected."""
        if report.failed:
            self.failed.append(_reason(report))


def _reason(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    if isinstance(report.longrepr, tuple):  # of a test that was skipped: file, line, why
        text = str(report.longrepr[-1])
    text = _OUR_CLASS.sub("", text, count=1)
    return _cut(f"{report.nodeid.rpartition('/')[2]}: {text.strip()}")
