"""What the engine does with a worker's messages, exit codes and failures."""

from __future__ import annotations

import logging

import pytest

from mlink import control
from mlink.engine import mailbox
from mlink.engine.mailbox import RunMessages
from mlink.engine.outcome import Outcome
from mlink.engine.plan import order_modules
from mlink.engine.report import Reporter
from mlink.engine.streams import Streams
from mlink.engine.workers import State
from mlink.metadata import encode_metadata
from mlink.types import DataType
from tests.support.engine_fakes import FakeClock, FakeWorker, Watcher, bench_of, module

BENCH = bench_of(
    module("cam", outputs={"video": DataType.Frame}),
    module("rec", inputs={"in": DataType.Frame}, sources={"in": "cam.video"}),
)
EMPTY = encode_metadata({})


class Desk:
    def __init__(self) -> None:
        streams = Streams(BENCH, order_modules(BENCH))
        self.watcher = Watcher()
        self.reporter = Reporter(BENCH, streams, self.watcher)
        self.outcome = Outcome(self.reporter)
        self.fakes = {name: FakeWorker(config) for name, config in BENCH.modules.items()}
        self.workers = {name: fake.handle for name, fake in self.fakes.items()}
        self.messages = RunMessages(
            self.workers, streams, self.reporter, self.outcome, None, lambda _: ""
        )

    def handle(self, name: str, message: control.WorkerMessage | int) -> None:
        self.messages.handle((self.workers[name], message))

    def sent_to(self, name: str) -> list:
        return self.fakes[name].received()

    def failures(self) -> list[tuple[str, str, str]]:
        return [(each.module, each.phase, each.message) for each in self.outcome.failures]


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    for fake in desk.fakes.values():
        fake.close()


def test_a_loaded_worker_has_its_nice_value(desk):
    desk.handle("cam", control.Loaded(-10))
    assert (desk.workers["cam"].nice, desk.workers["cam"].state) == (-10, State.LOADED)


def test_a_prepared_worker_opens_its_outputs_and_is_waited_for(desk):
    cam = desk.workers["cam"]
    desk.handle("cam", control.Prepared({"video": EMPTY}))
    (message,) = desk.sent_to("cam")
    assert isinstance(message, control.OpenOutputs)
    assert list(message.outputs) == ["video"]
    assert (cam.state, cam.pending_acks) == (State.PREPARED, 1)
    desk.handle("cam", control.Acknowledged())
    assert cam.pending_acks == 0


def test_subscribers_are_sent_metadata_that_start_has_changed(desk):
    desk.handle("cam", control.Prepared({"video": EMPTY}))
    changed = encode_metadata({"framerate": 30.0})
    desk.handle("cam", control.Started({"video": changed}))
    assert desk.sent_to("rec") == [control.UpdateMetadata("in", changed)]
    assert desk.workers["cam"].state is State.STARTED
    desk.handle("cam", control.Started({"video": changed}))
    assert desk.sent_to("rec") == []


def test_counts_are_kept_with_their_time(desk, monkeypatch):
    monkeypatch.setattr(mailbox, "time", FakeClock(50.0))
    counts = {"in": control.InputCount(3, 1)}
    desk.handle("rec", control.Status({}, counts, "busy"))
    rec = desk.workers["rec"]
    assert (rec.received, rec.counted_s, rec.text) == (counts, 50.0, "busy")


def test_the_end_of_a_stream_reaches_its_subscribers_with_its_length(desk):
    desk.handle("cam", control.OutputsEnded({"video": 7}))
    assert desk.sent_to("rec") == [control.StreamEnded("in", 7)]
    assert (desk.workers["cam"].state, desk.workers["cam"].sent) == (State.ENDED, {"video": 7})


def test_a_stream_that_was_never_opened_ends_with_no_item(desk):
    desk.messages.end_streams(desk.workers["cam"], {})
    assert desk.sent_to("rec") == [control.StreamEnded("in", 0)]


def test_final_counts_are_kept(desk):
    counts = {"in": control.InputCount(7, 0)}
    desk.handle("rec", control.Finished({}, counts))
    assert (desk.workers["rec"].state, desk.workers["rec"].received) == (State.FINISHED, counts)


def test_logs_lines_and_figures_are_passed_on(desk):
    desk.handle("cam", control.Log(logging.WARNING, "dark"))
    desk.handle("cam", control.Output("hello"))
    desk.handle("cam", control.Report("fps", 30.0))
    assert desk.watcher.logs == [("cam", logging.WARNING, "dark")]
    assert desk.watcher.lines == [("cam", "hello")]
    assert desk.reporter.result([], "", {}).reports == {"cam": {"fps": 30.0}}


def test_the_first_request_to_stop_is_the_reason(desk):
    assert not desk.outcome.ending
    desk.handle("rec", control.StopRequest("disk is full"))
    desk.handle("cam", control.StopRequest("later"))
    assert desk.outcome.stop_reason == "rec: disk is full"
    assert desk.outcome.ending
    assert desk.outcome.failures == []


def test_a_reported_failure_ends_the_run_and_is_logged(desk):
    desk.handle("cam", control.Failed("start", "no camera", "Plug it in.", "trace"))
    (failure,) = desk.outcome.failures
    assert (failure.module, failure.phase, failure.message) == ("cam", "start", "no camera")
    assert (failure.remedy, failure.detail) == ("Plug it in.", "trace")
    assert desk.workers["cam"].failed
    assert desk.outcome.ending
    assert desk.watcher.logs == [("cam", logging.ERROR, "no camera")]


def test_an_interrupted_worker_reports_where_it_was(desk):
    cam = desk.workers["cam"]
    desk.outcome.fail_worker(desk.workers["rec"], "stop", "is late too", "hurry")
    desk.outcome.fail_worker(cam, "stop", "did not finish within 5 s", "hurry")
    cam.rung = 1
    desk.handle("cam", control.Failed("running", "script.py:3: while True: pass"))
    assert desk.failures() == [
        ("rec", "stop", "is late too"),
        ("cam", "running", "did not finish within 5 s; it was at\n  script.py:3: while True: pass"),
    ]


def test_a_worker_fails_once(desk):
    desk.outcome.fail_worker(desk.workers["cam"], "stop", "first", "do this")
    desk.outcome.fail_worker(desk.workers["cam"], "close", "second", "do that")
    assert desk.failures() == [("cam", "stop", "first")]


@pytest.mark.parametrize(
    ("code", "closed", "what"),
    [
        (0, True, None),
        (0, False, "ended with exit code 0"),
        (3, True, "ended with exit code 3"),
        (-11, False, "was ended by signal 11"),
    ],
)
def test_an_exit_that_was_not_expected_is_a_failure(desk, code, closed, what):
    if closed:
        desk.handle("cam", control.Closed())
    desk.handle("cam", code)
    if what is None:
        assert desk.failures() == []
    else:
        ((module_name, phase, message),) = desk.failures()
        assert (module_name, phase) == ("cam", "run")
        assert what in message
    assert desk.sent_to("rec") == [control.StreamEnded("in", -1)]  # its length is unknown


def test_a_death_has_the_last_lines_of_the_module(desk):
    for number in range(5):
        desk.handle("cam", control.Output(f"frame {number}"))
    desk.handle("rec", control.Output("of another module"))
    desk.handle("cam", control.Log(logging.INFO, "and now?"))
    desk.reporter.log("cam", logging.WARNING, "the engine's own line about it")
    desk.handle("cam", -9)
    (failure,) = desk.outcome.failures
    assert failure.message == (
        "its process was ended by signal 9 (Killed); its last lines:\n"
        "  frame 3\n  frame 4\n  and now?"
    )
    assert "dmesg" in failure.remedy


def test_a_crash_has_its_place(desk):
    desk.messages._crash = lambda worker: f"it stood at {worker.name}.py:7"
    desk.handle("cam", -11)
    (failure,) = desk.outcome.failures
    assert failure.message == (
        "its process was ended by signal 11 (Segmentation fault): it stood at cam.py:7"
    )
    assert "Compiled code" in failure.remedy


def test_the_exit_of_a_worker_that_has_failed_is_no_second_failure(desk):
    desk.handle("cam", control.Failed("running", "boom"))
    desk.handle("cam", 1)
    assert desk.failures() == [("cam", "running", "boom")]
