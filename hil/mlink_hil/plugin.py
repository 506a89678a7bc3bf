"""The pytest plugin: a bench as a fixture (docs/hil.md).

Light to import, because every pytest run loads it: anything heavy is imported inside of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlink.replay import Replayed
    from mlink_hil.testing.bench import TestBench
    from mlink_hil.testing.handles.cameras import Camera
    from mlink_hil.testing.handles.lines import Board
    from mlink_hil.testing.handles.recording import RecordingHandle
    from mlink_hil.testing.runs import Runs

_BENCH: pytest.StashKey[TestBench] = pytest.StashKey()
_RUNS: pytest.StashKey[Runs] = pytest.StashKey()

_MARKERS = (
    'bench(path, scope="module", without=(), set=(), time=None): the bench file, relative to the '
    "test's; how long tests share a run; modules to leave out; settings as module.key=value; "
    "the kind of time",
    "mlink_needs(*features): skip the test when the bench lacks a feature (simulated, real, avr, "
    "board, camera)",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("mlink", "mlink: hardware in the loop")
    group.addoption(
        "--mlink-devices",
        metavar="FILE",
        help="devices file of your lab, used instead of [devices]",
    )
    group.addoption(
        "--mlink-set",
        metavar="M.K=V",
        action="append",
        default=[],
        help="replace a setting of each bench, as module.key=value; repeatable",
    )
    group.addoption(
        "--mlink-time",
        choices=("real", "virtual"),
        help="kind of time of each bench; in virtual time it runs in turns with the test, however "
        "busy the machine is (default: what the marker or the bench states, else virtual where "
        "all of the bench is simulated)",
    )
    group.addoption(
        "--mlink-fuzz",
        metavar="SEED[:KINDS]",
        help="in virtual time: disturb each bench as `mlink fuzz` does with this seed",
    )
    group.addoption(
        "--mlink-record",
        choices=("always", "on-failure", "never"),
        default="on-failure",
        help="which recordings to keep (default: on-failure)",
    )
    group.addoption(
        "--mlink-out", metavar="DIR", help="folder of the recordings (default: recordings)"
    )
    group.addoption(
        "--mlink-report", metavar="DIR", help="folder for report.html and a VCD file of each test"
    )
    group.addoption(
        "--mlink-inconclusive",
        choices=("fail", "skip"),
        default="fail",
        help="count an inconclusive test as failed or as skipped (default: fail)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the reports in the main process."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if not hasattr(config, "workerinput"):  # not in the workers of pytest-xdist
        config.pluginmanager.register(_Reports(config), "mlink-reports")


# fixtures ---------------------------------------------------------------------------------------


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[TestBench]:
    """A run of the bench that the test's marker names: boards, cameras, expectations.

    The run starts with the first test that wants it, and lasts as long as the marker's scope.
    """
    from mlink_hil.testing.bench import TestBench
    from mlink_hil.testing.runs import Runs
    from mlink_hil.testing.sleeps import sleeps_are_named

    config = request.config
    if _RUNS not in config.stash:
        config.stash[_RUNS] = Runs(config)
    runs = config.stash[_RUNS]
    found = TestBench(runs.run_for(request.node))
    request.node.stash[_BENCH] = found
    with sleeps_are_named(request.path.parent) if found.run.in_turns else nullcontext():
        yield found
        found.finish()


@pytest.fixture
def board(bench: TestBench) -> Board:
    """The only board of the bench."""
    return bench.board()


@pytest.fixture
def camera(bench: TestBench) -> Camera:
    """The only camera of the bench."""
    return bench.camera()


@pytest.fixture
def recording(bench: TestBench) -> RecordingHandle:
    """The recording that the run writes."""
    return bench.recording


@pytest.fixture
def mlink_replay(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Replayed]:
    """`mlink.replay.replay`, with paths relative to the test's file.

    Call it as `mlink_replay(recording, bench="bench.toml", **options)`; it records into `tmp_path`.
    """
    from mlink.replay import replay

    folder = request.path.parent

    def run(recording: Path | str, *, bench: Path | str = "bench.toml", **options: Any) -> Replayed:
        options.setdefault("out_dir", tmp_path)
        return replay(folder / recording, bench=folder / bench, **options)

    return run


# outcomes ---------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test whose run has failed, and add its measurements to the JUnit properties."""
    try:
        result = yield
        if (bench := item.stash.get(_BENCH, None)) is not None:
            bench.run.check()
        return result
    finally:
        if (bench := item.stash.get(_BENCH, None)) is not None:
            for measured in bench.measurements:
                item.user_properties.append((f"mlink.{measured.name}", str(measured)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Mark inconclusive tests, keep failed ones' recordings, attach the HTML report's evidence."""
    report: Any = yield
    if report.when != "call" and not report.passed and "bench" in getattr(item, "fixturenames", ()):
        report.mlink = _not_run(call)  # set-up or clean-up failed, or it was skipped
    bench = item.stash.get(_BENCH, None)
    if bench is None:
        return report
    from mlink_hil.testing.verdicts import Inconclusive

    if call.excinfo is not None and call.excinfo.errisinstance(Inconclusive):
        report.mlink_outcome = "inconclusive"
        if item.config.getoption("--mlink-inconclusive") == "skip":
            report.outcome = "skipped"
            path, line, _ = item.location
            report.longrepr = (path, line or 0, f"inconclusive: {call.excinfo.value}")
    if report.failed:
        bench.run.keep_recording = True
    if report.when == "call":
        from mlink_hil.testing.evidence import gather

        directory = item.config.getoption("--mlink-report")
        folder = Path(directory) if directory else None
        try:
            report.mlink = gather(bench, item.nodeid, folder, failed=report.failed)
        except OSError as error:
            report.sections.append(("mlink", f"the test's VCD file cannot be written: {error}"))
        else:
            report.mlink["why"] = _why(call)
    return report


def _why(call: pytest.CallInfo[None]) -> str:
    return "" if call.excinfo is None else str(call.excinfo.value) or call.excinfo.typename


def _not_run(call: pytest.CallInfo[None]) -> dict[str, Any]:
    """Return the evidence of a test that did not run: only why."""
    return {"measurements": [], "why": _why(call)}


def pytest_report_teststatus(report: Any) -> tuple[str, str, Any] | None:
    """Show inconclusive tests as an outcome of their own."""
    if getattr(report, "mlink_outcome", "") == "inconclusive":
        return "inconclusive", "I", ("INCONCLUSIVE", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the messages of inconclusive tests."""
    inconclusive = terminalreporter.stats.get("inconclusive", [])
    if inconclusive:
        terminalreporter.write_sep("=", "INCONCLUSIVE")
        for report in inconclusive:
            terminalreporter.write_sep("_", report.nodeid)
            terminalreporter.write_line(str(report.longrepr))


# reports ----------------------------------------------------------------------------------------


def _outcome(report: Any) -> str:
    """Return a report's outcome; a failure outside the test itself is an "error"."""
    return "error" if report.failed and report.when != "call" else str(report.outcome)


def _text(report: Any) -> str:
    """Return a report's traceback; of a skip, whose longrepr is (path, line, reason), its place."""
    if isinstance(report.longrepr, tuple):
        path, line, _ = report.longrepr
        return f"{path}:{line}"
    return str(report.longrepr)


class _Reports:
    """Collects evidence and writes the HTML report; under pytest-xdist in the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._directory = config.getoption("--mlink-report")
        self._found: list[dict[str, Any]] = []
        self._times: dict[str, list[str]] = {}
        """Kind of time, with why → names of the benches that ran so."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the evidence of a test."""
        if (evidence := getattr(report, "mlink", None)) is not None:
            if "time" in evidence:
                benches = self._times.setdefault(evidence["time"], [])
                benches += [each for each in [evidence["bench"]] if each not in benches]
            self._found.append(
                {
                    **evidence,
                    "nodeid": report.nodeid,
                    "outcome": getattr(report, "mlink_outcome", _outcome(report)),
                    "duration": report.duration,
                    "began": getattr(report, "start", 0.0),
                    "text": "" if report.passed else _text(report),
                }
            )

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        if self._directory and self._found:
            from mlink_hil.testing.report.html import write_report

            for test in self._found:  # those of passed tests have been removed by now
                if not Path(test.get("recording", "")).exists():
                    test["recording"] = ""
            write_report(Path(self._directory) / "report.html", self._found)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print in which kind of time benches ran, and the report's path."""
        for kind, benches in sorted(self._times.items()):
            terminalreporter.write_line(f"mlink: {kind}: {', '.join(benches)}")
        if self._directory and self._found:
            terminalreporter.write_line(f"mlink: {Path(self._directory) / 'report.html'}")
