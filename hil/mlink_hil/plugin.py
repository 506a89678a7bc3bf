"""The pytest plugin: a bench as a fixture (docs/hil.md). Light to import, for every pytest run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlink.replay import Replayed
    from mlink_hil.testing.bench import TestBench
    from mlink_hil.testing.cameras import Camera
    from mlink_hil.testing.lines import Board
    from mlink_hil.testing.recording import RecordingHandle
    from mlink_hil.testing.runs import Runs

_BENCH: pytest.StashKey[TestBench] = pytest.StashKey()
_RUNS: pytest.StashKey[Runs] = pytest.StashKey()

_MARKERS = (
    'bench(path, scope="module", without=(), set=()): the bench file that a test runs on, beside '
    "its own file; the modules to leave out; settings as module.key=value; how long one run lasts",
    "mlink_needs(*features): skip when the bench's devices lack a feature (simulated, real, "
    "avr, board, camera)",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("mlink", "mlink: hardware in the loop")
    group.addoption(
        "--mlink-devices", metavar="FILE", help="your lab: takes the place of [devices]"
    )
    group.addoption(
        "--mlink-set",
        metavar="M.K=V",
        action="append",
        default=[],
        help="replace one setting of every bench, as module.key=value; repeatable",
    )
    group.addoption(
        "--mlink-record",
        choices=("always", "on-failure", "never"),
        default="on-failure",
        help="which runs' recordings are kept (default: on-failure)",
    )
    group.addoption("--mlink-out", metavar="DIR", help="where recordings go (default: recordings)")
    group.addoption(
        "--mlink-report", metavar="DIR", help="write report.html and a VCD file for each test"
    )
    group.addoption(
        "--mlink-inconclusive",
        choices=("fail", "skip"),
        default="fail",
        help="what an inconclusive test does to the exit status (default: fail)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce our markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if not hasattr(config, "workerinput"):  # not in the workers of pytest-xdist
        config.pluginmanager.register(_Reports(config), "mlink-reports")


# fixtures ---------------------------------------------------------------------------------------


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[TestBench]:
    """A run of the bench that the test names: its boards, cameras and expectations."""
    from mlink_hil.testing.bench import TestBench
    from mlink_hil.testing.runs import Runs

    config = request.config
    if _RUNS not in config.stash:
        config.stash[_RUNS] = Runs(config)
    runs = config.stash[_RUNS]
    found = TestBench(runs.run_for(request.node))
    request.node.stash[_BENCH] = found
    yield found
    found.finish()


@pytest.fixture
def board(bench: TestBench) -> Board:
    """Give the only board of the bench."""
    return bench.board()


@pytest.fixture
def camera(bench: TestBench) -> Camera:
    """Give the only camera of the bench."""
    return bench.camera()


@pytest.fixture
def recording(bench: TestBench) -> RecordingHandle:
    """Give the recording that the run writes."""
    return bench.recording


@pytest.fixture
def mlink_replay(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Replayed]:
    """Give `mlink.replay.replay` for paths beside the test's file; records into `tmp_path`."""
    from mlink.replay import replay

    folder = request.path.parent

    def run(recording: Path | str, *, bench: Path | str = "bench.toml", **options: Any) -> Replayed:
        options.setdefault("out_dir", tmp_path)
        return replay(folder / recording, bench=folder / bench, **options)

    return run


# outcomes ---------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a test fail whose run has failed, and give its measurements to JUnit."""
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
    """Tell inconclusive from failed, and attach what the HTML report shows."""
    report: Any = yield
    if report.when != "call" and not report.passed and "bench" in getattr(item, "fixturenames", ()):
        report.mlink = _not_run(call)  # it did not begin, or its run did not end well
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
        from mlink_hil.testing.report.evidence import gather

        directory = item.config.getoption("--mlink-report")
        folder = Path(directory) if directory else None
        try:
            report.mlink = gather(bench, item.nodeid, folder, failed=report.failed)
        except OSError as error:
            report.sections.append(("mlink", f"the test's evidence cannot be written: {error}"))
        else:
            report.mlink["why"] = _why(call)
    return report


def _why(call: pytest.CallInfo[None]) -> str:
    return "" if call.excinfo is None else str(call.excinfo.value) or call.excinfo.typename


def _not_run(call: pytest.CallInfo[None]) -> dict[str, Any]:
    """Return the evidence of a set-up or clean-up that failed, or of a skip: why."""
    return {"measurements": [], "why": _why(call)}


def pytest_report_teststatus(report: Any) -> tuple[str, str, Any] | None:
    """Show an inconclusive test as what it is."""
    if getattr(report, "mlink_outcome", "") == "inconclusive":
        return "inconclusive", "I", ("INCONCLUSIVE", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print why tests were inconclusive."""
    undecided = terminalreporter.stats.get("inconclusive", [])
    if undecided:
        terminalreporter.write_sep("=", "INCONCLUSIVE")
        for report in undecided:
            terminalreporter.write_sep("_", report.nodeid)
            terminalreporter.write_line(str(report.longrepr))


# reports ----------------------------------------------------------------------------------------


def _outcome(report: Any) -> str:
    """Return a report's outcome, where an error outside the test itself has its own name."""
    return "error" if report.failed and report.when != "call" else str(report.outcome)


def _text(report: Any) -> str:
    """Return where in the code it happened; a skip's is (path, line, reason)."""
    if isinstance(report.longrepr, tuple):
        path, line, _ = report.longrepr
        return f"{path}:{line}"
    return str(report.longrepr)


class _Reports:
    """Gathers evidence and writes the HTML report; with xdist in the controller's process."""

    def __init__(self, config: pytest.Config) -> None:
        self._directory = config.getoption("--mlink-report")
        self._found: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what the report is made of."""
        if (evidence := getattr(report, "mlink", None)) is not None:
            self._found.append(
                {
                    **evidence,
                    "nodeid": report.nodeid,
                    "outcome": getattr(report, "mlink_outcome", _outcome(report)),
                    "duration": report.duration,
                    "text": "" if report.passed else _text(report),
                }
            )

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        if self._directory and self._found:
            from mlink_hil.testing.report.html import write_report

            for test in self._found:  # that of a passed test has been removed by now
                if not Path(test.get("recording", "")).exists():
                    test["recording"] = ""
            write_report(Path(self._directory) / "report.html", self._found)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the report is."""
        if self._directory and self._found:
            terminalreporter.write_line(f"mlink: {Path(self._directory) / 'report.html'}")
