"""The reporter: snapshots for the observer, the run's log, and the result."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from mlink.control import InputCount
from mlink.engine import report
from mlink.engine.plan import order_modules
from mlink.engine.report import Reporter, ReporterLogHandler
from mlink.engine.status import Failure, Phase
from mlink.engine.streams import Streams
from mlink.module import Category
from mlink.types import DataType
from tests.support.engine_fakes import FakeClock, FakeWorker, Watcher, bench_of, module

BENCH = bench_of(
    module("cam", outputs={"video": DataType.Frame, "unused": DataType.TableRow}),
    module(
        "rec", inputs={"in": DataType.Frame}, sources={"in": "cam.video"}, queues={"in": 9},
        category=Category.WRITER,
    ),
)  # fmt: skip
S = 1_000_000_000


class FakeRecording:
    def __init__(self) -> None:
        self.lines: list[tuple[int, str, int, str]] = []
        self.watched = 0

    def write_log(self, *line) -> None:
        self.lines.append(line)

    def watch(self, _status) -> None:
        self.watched += 1


class Desk:
    """A reporter with its surroundings."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.watcher = Watcher()
        self.streams = Streams(BENCH, order_modules(BENCH))
        self.reporter = Reporter(BENCH, self.streams, self.watcher)
        self.recording = FakeRecording()
        self.fakes = {name: FakeWorker(config) for name, config in BENCH.modules.items()}
        self.workers = {name: fake.handle for name, fake in self.fakes.items()}

    def count(self, *, sent: int, received: int, lost: int = 0, first_item_ns: int = 0) -> None:
        self.workers["cam"].sent = {"video": sent}
        self.workers["cam"].counted_s = self.clock.now
        self.workers["rec"].received = {"in": InputCount(received, lost, first_item_ns)}

    def tick(self) -> None:
        self.reporter.tick(self.workers)

    def stream(self):
        return next(each for each in self.watcher.status.streams if each.name == "cam.video")


@pytest.fixture
def desk(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(report, "time", clock)
    desk = Desk(clock)
    yield desk
    for fake in desk.fakes.values():
        fake.close()


def told(monkeypatch, desk, sentence) -> list[str]:
    cam = BENCH.modules["cam"]
    spoken = replace(cam, type=replace(cam.type, sentence=sentence))
    monkeypatch.setitem(BENCH.modules, "cam", spoken)
    desk.reporter.report("cam", "frames", 301.0)
    return desk.reporter.result([], "", {}).sentences


def test_a_module_tells_its_figures_in_a_sentence(monkeypatch, desk):
    assert told(monkeypatch, desk, lambda figures: f"{figures['frames']:.0f} frames") == [
        "cam: 301 frames"
    ]


def test_a_sentence_that_cannot_be_made_is_a_warning_and_no_failure(monkeypatch, desk):
    assert told(monkeypatch, desk, lambda figures: str(figures["frame"])) == []
    assert any("its sentence cannot be made" in text for _, _, text in desk.watcher.logs)


def test_phases_are_shown_at_once(desk):
    for phase in (Phase.SPAWN, Phase.PREPARE, Phase.START):
        desk.reporter.enter(phase)
    assert desk.watcher.phases == ["spawn", "prepare", "start"]


def test_a_snapshot_comes_four_times_a_second(desk):
    desk.reporter.recording = desk.recording
    for _ in range(41):
        desk.tick()
        desk.clock.now += 0.0625
    assert desk.watcher.updates == desk.recording.watched == 11


def test_a_subscription_has_its_counts_and_what_is_on_its_way(desk):
    desk.count(sent=100, received=80, lost=5)
    desk.tick()
    (subscription,) = desk.stream().subscriptions
    assert (subscription.module, subscription.port) == ("rec", "in")
    assert (subscription.received, subscription.lost, subscription.queued) == (80, 5, 15)
    assert desk.stream().sent == 100


def test_counts_of_two_moments_never_show_a_negative_queue(desk):
    desk.count(sent=100, received=103)
    desk.tick()
    assert desk.stream().subscriptions[0].queued == 0


def test_the_limit_of_a_queue_is_shown_when_it_is_known(desk):
    desk.tick()
    assert desk.stream().subscriptions[0].queue_limit == 0
    desk.streams.lay_out(BENCH.modules["cam"], {"video": b"\x80", "unused": b"\x80"})
    desk.clock.now += 1
    desk.tick()
    assert desk.stream().subscriptions[0].queue_limit == 9


def test_streams_are_shown_before_their_workers_exist(desk):
    desk.reporter.tick({})
    assert [stream.name for stream in desk.watcher.status.streams] == ["cam.video", "cam.unused"]
    assert desk.stream().subscriptions[0].received == 0


def test_the_rate_while_the_run_lasts_is_of_the_last_seconds(desk):
    for second in range(5):
        desk.count(sent=second * 30, received=0)
        desk.tick()
        desk.clock.now += 1
    assert desk.stream().rate_hz == 30.0


def test_status_texts_are_shown_as_long_as_there_are_any(desk):
    desk.workers["rec"].text = "12 MB"
    desk.tick()
    assert desk.watcher.status.module_status == {"rec": "12 MB"}
    desk.workers["rec"].text = ""
    desk.clock.now += 1
    desk.tick()
    assert desk.watcher.status.module_status == {}


def test_the_length_of_a_run_ends_with_its_stop(desk):
    assert desk.reporter.elapsed_s == 0.0
    desk.reporter.stop_clock()  # before the start it means nothing
    desk.reporter.start_clock(desk.clock.master())
    desk.clock.now += 2
    assert desk.reporter.elapsed_s == 2.0
    desk.reporter.stop_clock()
    desk.clock.now += 5
    desk.reporter.stop_clock()
    assert desk.reporter.elapsed_s == 2.0


def test_virtual_time_replaces_the_clock(desk):
    desk.reporter.recording = desk.recording
    desk.reporter.virtual_usec = lambda: 2_500_000
    desk.reporter.start_clock(desk.clock.master())
    desk.clock.now += 60
    desk.reporter.log("cam", logging.INFO, "hello")
    assert desk.reporter.elapsed_s == 2.5
    assert desk.recording.lines == [(2_500_000, "cam", logging.INFO, "hello")]


def test_logs_and_printed_lines_are_shown_and_recorded_with_their_time(desk):
    desk.reporter.recording = desk.recording
    desk.reporter.log("cam", logging.WARNING, "early")
    desk.reporter.start_clock(desk.clock.master())
    desk.clock.now += 1.5
    desk.reporter.output("rec", "printed")
    assert desk.watcher.logs == [("cam", logging.WARNING, "early")]
    assert desk.watcher.lines == [("rec", "printed")]
    assert desk.recording.lines == [
        (0, "cam", logging.WARNING, "early"),
        (1_500_000, "rec", logging.INFO, "printed"),
    ]


def test_without_a_recording_everything_is_only_shown(desk):
    desk.reporter.log("cam", logging.INFO, "hello")
    desk.tick()
    assert desk.watcher.logs


def test_the_result_has_final_counts_and_mean_rates(desk):
    desk.reporter.start_clock(desk.clock.master())
    desk.clock.now += 4
    desk.reporter.stop_clock()
    desk.count(sent=200, received=200)
    result = desk.reporter.result([], "4 s are over", desk.workers)
    assert (result.success, result.stop_reason, result.duration_s) == (True, "4 s are over", 4.0)
    assert [(stream.name, stream.sent, stream.rate_hz) for stream in result.streams] == [
        ("cam.video", 200, 50.0),
        ("cam.unused", 0, 0.0),
    ]


def test_a_run_that_never_started_has_a_result(desk):
    failure = Failure("cam", "prepare", "no camera")
    result = desk.reporter.result([failure], "", desk.workers)
    assert not result.success
    assert result.failures == [failure]
    assert (result.duration_s, result.start_to_first_item_s) == (0.0, None)
    assert result.streams[0].rate_hz == 0.0


def test_the_first_item_of_any_subscription_counts_from_the_beginning(desk):
    begun_ns = desk.clock.monotonic_ns()
    for first_ns in (begun_ns + 3 * S, begun_ns + 2 * S, begun_ns + 4 * S):
        desk.count(sent=1, received=1, first_item_ns=first_ns)
        desk.clock.now += 1
        desk.tick()
    assert desk.reporter.result([], "", desk.workers).start_to_first_item_s == 2.0


def test_figures_are_in_the_order_of_the_bench_then_of_their_coming(desk):
    desk.reporter.report("replay", "late_turns", 0)
    desk.reporter.report("rec", "bytes", 1)
    desk.reporter.report("cam", "priority", "FIFO 15")
    desk.reporter.report("rec", "bytes", 2)
    result = desk.reporter.result([], "", desk.workers)
    assert list(result.reports.items()) == [
        ("cam", {"priority": "FIFO 15"}),
        ("rec", {"bytes": 2}),
        ("replay", {"late_turns": 0}),
    ]


def test_the_figure_of_a_recorder_has_what_was_lost_behind_its_last_item(desk):
    desk.count(sent=10, received=4, lost=1)
    desk.workers["cam"].lost = {"video": [6]}  # its sender has counted more than it saw
    desk.reporter.report("rec", "frames_lost", 1)
    desk.reporter.report("rec", "frames_written", 4)
    desk.reporter.report("cam", "frames_lost", 2)  # by the camera itself
    result = desk.reporter.result([Failure("cam", "run", "killed")], "", desk.workers)
    assert result.streams[0].subscriptions[0].lost == 6
    assert result.reports["rec"] == {"frames_lost": 6, "frames_written": 4}
    assert result.reports["cam"] == {"frames_lost": 2}


def test_the_engines_own_log_lines_become_the_runs(desk):
    logger = logging.getLogger("mlink")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with ReporterLogHandler(desk.reporter):
        logging.getLogger("mlink.devices").info("opened %s", "uno")
        logging.getLogger("mlink.devices").debug("detail")
        assert not logger.propagate
    logging.getLogger("mlink.devices").error("after the run")
    assert desk.watcher.logs == [("", logging.INFO, "opened uno")]
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_in_virtual_time_a_line_about_this_machines_speed_is_shown_but_not_recorded(desk):
    desk.reporter.recording = desk.recording
    desk.reporter.log("cam", logging.WARNING, "still loading after 5 s", of_wall_clock=True)
    assert [line[-1] for line in desk.recording.lines] == ["still loading after 5 s"]
    desk.reporter.virtual_usec = lambda: 0
    desk.reporter.log("cam", logging.WARNING, "still preparing after 5 s", of_wall_clock=True)
    desk.reporter.log("cam", logging.WARNING, "no light")
    assert [line[-1] for line in desk.recording.lines][1:] == ["no light"]
    assert desk.watcher.logs[1][-1] == "still preparing after 5 s"
