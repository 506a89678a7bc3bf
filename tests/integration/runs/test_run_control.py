"""Run control over the network: with ourselves, with ends that speak as Syntalos does, hostile."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import zmq

import mlink
from mlink.api.run import Run
from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import run_bench
from mlink.engine.status import RunResult
from mlink.errors import ControlError
from mlink.network import listener as listening
from mlink.network.controller import Controller
from mlink.network.listener import Listener, StartSignal
from mlink.network.messages import MOST_BYTES, Message, Wire, read_token

BENCH = """
[modules.clk]
type = "devel.clock"
interval_us = 20000
[modules.rows]
type = "table"
inputs = { rows = "clk.table-out" }
"""
RUN_ID = "0198c0de00007000800000000000beef"
LIMIT_S = 60


def free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "bench.toml").write_text(BENCH)
    return tmp_path


def until(done: Any, what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


class Listening:
    """Our listener, in a thread."""

    def __init__(self, folder: Path, ports: tuple[int, int], token: bytes = b"") -> None:
        self.results: list[RunResult] = []
        self.runs: list[Run] = []
        self._over = False
        bench = load_bench(folder)

        def make_run(message: Message, signal: StartSignal) -> Run:
            options = RunOptions(
                out_dir=folder / "led", run_uuid=message.run_uuid, control=signal,
                name=message.experiment_id or None, subject=message.subject_id,
            )  # fmt: skip
            self.runs.append(Run(bench, options, check=False))
            return self.runs[-1]

        self.listener = Listener(
            make_run, control_port=ports[0], feedback_port=ports[1], token=token,
            on_end=self.results.append,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self.listener:
            self.listener.serve(until=lambda: self._over)

    def close(self) -> None:
        self._over = True
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


class Lead:
    """A controller that speaks as Syntalos does."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self.pub, self.pull = self._context.socket(zmq.XPUB), self._context.socket(zmq.PULL)
        self.pub.setsockopt(zmq.XPUB_VERBOSER, 1)
        self.ports = tuple(each.bind_to_random_port("tcp://127.0.0.1")
                           for each in (self.pub, self.pull))  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(0)

    def await_listener(self) -> None:
        assert self.pub.poll(LIMIT_S * 1000)
        assert self.pub.recv() == b"\x01sy.cmd"

    def send(self, kind: str, *, run_id: str = RUN_ID, **fields: Any) -> None:
        message = {"v": 1, "type": kind, "sender": "rig-1", "run_id": run_id, **fields}
        self.pub.send_multipart([b"sy.cmd", json.dumps(message).encode()])

    def send_hostile(self) -> None:
        """Send all hostile messages; the last one cuts the connection, and it is made again."""
        for frames in (*HOSTILE, TOO_LARGE):
            self.pub.send_multipart(frames)
        seen = []
        for _ in range(2):
            assert self.pub.poll(LIMIT_S * 1000)
            seen.append(self.pub.recv())
        assert sorted(seen) == [b"\x00sy.cmd", b"\x01sy.cmd"]

    def ack_of_any(self) -> dict[str, Any]:
        assert self.pull.poll(LIMIT_S * 1000)
        found: dict[str, Any] = json.loads(self.pull.recv())
        return found

    def ack(self, what: str) -> dict[str, Any]:
        assert self.pull.poll(LIMIT_S * 1000), what
        found: dict[str, Any] = json.loads(self.pull.recv())
        assert (found["v"], found["type"], found["ack_for"]) == (1, "ack", what)
        return found


@contextmanager
def led_by_syntalos(folder: Path) -> Iterator[tuple[Lead, Listening]]:
    with Lead() as lead:
        led = Listening(folder, lead.ports)
        try:
            lead.await_listener()
            yield lead, led
        finally:
            led.close()


def network_of(recording: Path | None) -> dict[str, Any]:
    assert recording is not None
    with mlink.open_recording(recording) as found:
        return {**found.attributes["reports"]["network"], "all": found.attributes}


def test_a_syntalos_rig_starts_and_stops_a_bench_of_ours(bench: Path) -> None:
    with led_by_syntalos(bench) as (lead, led):
        lead.send("prepare", project="Maze", subject_id="M1", subject_group="g",
                  experiment_id="Day 3")  # fmt: skip
        ready = lead.ack("prepare")
        assert ready["success"] is True
        assert ready["sender"]
        time.sleep(0.2)
        assert led.runs[0].status.elapsed_s == 0
        start_us = time.time_ns() // 1000 - 300_000
        lead.send("start", ts_start_us=start_us)
        assert "error" not in lead.ack("start")
        until(lambda: led.runs[0].status.elapsed_s > 0.6, "the run")
        lead.send("prepare", run_id=uuid.uuid4().hex)
        assert lead.ack("prepare")["error"] == "already running"
        lead.send("stop", success=True)
        assert "error" not in lead.ack("stop")
    (result,) = led.results
    assert result.success
    assert result.stop_reason == "the controller stopped"
    found = network_of(result.recording_dir)
    assert found["t0_unix_usec"] == start_us
    assert found["controller"] == "rig-1"
    assert found["t0_uncertainty_usec"] == "unknown"  # of the controller's clock nothing is known
    attributes = found["all"]
    assert (attributes["subject_id"], attributes["collection_name"]) == ("M1", "Day 3")
    with mlink.open_recording(result.recording_dir) as recording:
        assert recording.collection_id.replace("-", "") == RUN_ID
        times = [int(row[0]) for row in recording.table().rows]
    # a pulse that was due before the modules were there comes late, on the controller's timer
    assert times[0] >= 300_000


def test_a_bench_of_ours_starts_and_stops_a_syntalos_rig(bench: Path) -> None:
    ports = free_ports()
    heard: list[dict[str, Any]] = []

    def rig() -> None:
        context = zmq.Context()
        sub, push = context.socket(zmq.SUB), context.socket(zmq.PUSH)
        sub.connect(f"tcp://127.0.0.1:{ports[0]}")
        push.connect(f"tcp://127.0.0.1:{ports[1]}")
        sub.setsockopt(zmq.SUBSCRIBE, b"sy.cmd")
        while not heard or heard[-1]["type"] != "stop":
            assert sub.poll(LIMIT_S * 1000)
            topic, text = sub.recv_multipart()
            assert topic == b"sy.cmd"
            heard.append(json.loads(text))
            answer = {"v": 1, "type": "ack", "sender": "rig", "run_id": heard[-1]["run_id"],
                      "ack_for": heard[-1]["type"], "success": True}  # fmt: skip
            push.send(json.dumps(answer).encode())
        context.destroy(500)

    thread = threading.Thread(target=rig)
    thread.start()
    result = led_run(bench, 1, ports)
    thread.join(LIMIT_S)
    assert result.success, result.failures
    assert [each["type"] for each in heard] == ["prepare", "start", "stop"]
    assert heard[0]["project"]
    assert heard[2]["success"] is True
    assert len({each["run_id"] for each in heard}) == 1
    assert len(heard[0]["run_id"]) == 32
    found = network_of(result.recording_dir)
    assert (found["role"], found["listeners"]) == ("controller", 1)
    assert abs(found["t0_unix_usec"] - heard[1]["ts_start_us"]) <= 1


class Quiet:
    def on_status(self, status: object) -> None: ...
    def on_log(self, module: str, level: int, message: str) -> None: ...
    def on_output(self, module: str, text: str) -> None: ...


def led_run(
    folder: Path, listeners: int, ports: tuple[int, int], *, token: bytes = b"", timeout: float = 30
) -> RunResult:
    with Controller(
        listeners, control_port=ports[0], feedback_port=ports[1], token=token, timeout_s=timeout,
        project="p", experiment="e",
    ) as control:  # fmt: skip
        options = RunOptions(duration_s=1.0, out_dir=folder / "leads", control=control)
        return run_bench(load_bench(folder), options, Quiet())


@pytest.mark.parametrize("option", ["--subject", "--subject-file"])
def test_two_of_ours_have_one_zero_with_its_uncertainty(bench: Path, option: str) -> None:
    ports = free_ports()
    (bench / "mouse.toml").write_text('id = "mouse"')
    subject = "mouse" if option == "--subject" else str(bench / "mouse.toml")
    (bench / "token").write_text("x" * 32)
    (bench / "token").chmod(0o600)
    cli = str(Path(sys.executable).with_name("mlink"))
    options = ["--net-control-port", str(ports[0]), "--net-feedback-port", str(ports[1]),
               "--net-token", str(bench / "token")]  # fmt: skip
    led = subprocess.Popen(
        [cli, "listen", str(bench), "--once", "--out", str(bench / "led"), *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lead = subprocess.run(
        [cli, "run", str(bench), "--for", "1", "--out", str(bench / "leads"), "--net-lead", "1",
         "--net-timeout", "60", option, subject, "--plain", *options],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    printed = led.communicate(timeout=120)[0]
    assert (lead.returncode, led.returncode) == (0, 0), lead.stdout + lead.stderr + printed
    (one,) = [each.parent for each in (bench / "leads").rglob("run.log")]
    (other,) = [each.parent for each in (bench / "led").rglob("run.log")]
    leads, led_by = network_of(one), network_of(other)
    assert abs(leads["t0_unix_usec"] - led_by["t0_unix_usec"]) <= 1
    # one machine, one clock: what remains is the reading of the clocks
    assert 0 < led_by["t0_uncertainty_usec"] < 5000
    with mlink.open_recording(one) as first, mlink.open_recording(other) as second:
        assert first.collection_id == second.collection_id
        assert second.attributes["subject_id"] == "mouse"


def test_several_listeners_are_waited_for(bench: Path) -> None:
    ports = free_ports()
    led = [Listening(bench, ports) for _ in range(2)]
    try:
        result = led_run(bench, 2, ports)
        until(lambda: all(each.results for each in led), "the led runs")
    finally:
        for each in led:
            each.close()
    assert result.success, result.failures
    assert result.reports["network"]["listeners"] == 2
    assert len({each.results[0].recording_dir for each in led}) == 2


def test_tokens_that_differ_start_nothing(bench: Path) -> None:
    ports = free_ports()
    led = Listening(bench, ports, b"a" * 32)
    try:
        for token in (b"", b"b" * 32):
            result = led_run(bench, 1, ports, token=token, timeout=3)
            assert not result.success
            assert "0 of 1 listeners were ready" in result.failures[0].message
        assert led.runs == []
        assert led.listener._wire.refused >= 2
        assert led_run(bench, 1, ports, token=b"a" * 32).success
        until(lambda: led.results, "the led run")
    finally:
        led.close()


TOO_LARGE = [b"sy.cmd", b"x" * (MOST_BYTES + 1)]
HOSTILE: list[list[bytes]] = [
    [b"sy.cmd"],
    [b"sy.cmd", b"", b""],
    [b"sy.cmd", b"{"],
    [b"sy.cmd", b"\xff\xfe"],
    [b"sy.cmd", b"[" * 60_000],
    [b"sy.cmd", json.dumps({"v": 2, "type": "prepare", "sender": "x", "run_id": RUN_ID}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "prepare", "sender": "", "run_id": RUN_ID}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "prepare", "sender": "x", "run_id": "no"}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "prepare", "sender": "x", "run_id": RUN_ID,
                            "subject_id": "y" * 5000}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "stop", "sender": "x", "run_id": RUN_ID}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "start", "sender": "x", "run_id": RUN_ID,
                            "ts_start_us": 1}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "???", "sender": "x", "run_id": RUN_ID}).encode()],
    [b"sy.cmd", json.dumps({"v": 1, "type": "prepare", "sender": "\x1b[31m", "run_id": RUN_ID})
     .encode()],
    [b"sy.cmd", b'{"v": 1, "type": "start", "sender": "x", "run_id": "' + RUN_ID.encode() +
     b'", "ts_start_us": 1e400}'],
]  # fmt: skip


def test_hostile_messages_start_nothing_and_stop_nothing(bench: Path) -> None:
    with led_by_syntalos(bench) as (lead, led):
        lead.send_hostile()
        assert led.runs == []
        other = uuid.uuid4().hex
        lead.send("prepare", subject_id="../../x", experiment_id="/etc/x", run_id=other)
        assert "error" not in lead.ack("prepare")
        lead.send_hostile()
        lead.send("start", run_id=other, ts_start_us=time.time_ns() // 1000)
        assert "error" not in lead.ack("start")
        for _ in range(200):
            lead.send("prepare", run_id=uuid.uuid4().hex)
        for _ in range(200):
            assert lead.ack("prepare")["error"] == "already running"
        assert not led.runs[0].ended
        until(lambda: led.runs[0].status.phase.value == "run", "the start")
        lead.send("stop", run_id=other)
        stopped = lead.ack("stop")
        assert not stopped.get("error"), stopped["error"]
        lead.send("prepare", run_id=other)
        assert lead.ack("prepare")["error"] == "this run was made before"
    (result,) = led.results
    assert result.recording_dir is not None
    assert result.recording_dir.resolve().is_relative_to((bench / "led").resolve())


def test_a_start_that_does_not_come_and_clocks_that_differ_fail_the_run(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_START_S", 0.5)
    with led_by_syntalos(bench) as (lead, led):
        lead.send("prepare")
        lead.ack("prepare")
        until(lambda: led.results, "the end")
        assert "did not start within 0.5 s" in led.results[0].failures[0].message
        monkeypatch.setattr(listening, "_START_S", 30.0)
        run_id = uuid.uuid4().hex
        lead.send("prepare", run_id=run_id)
        while lead.ack_of_any()["ack_for"] != "prepare":
            pass
        lead.send("start", run_id=run_id, ts_start_us=(time.time_ns() // 1000) - 3_600_000_000)
        until(lambda: len(led.results) == 2, "the end")
        assert "differ: 3600" in led.results[1].failures[0].message


def test_a_listener_that_cannot_fails_the_run_of_the_controller(bench: Path) -> None:
    ports = free_ports()
    (bench / "other").mkdir()
    (bench / "other/bench.toml").write_text(
        '[modules.s]\ntype = "pyscript"\nscript = "s.py"\nports_out = []\n'
    )
    (bench / "other/s.py").write_text("def prepare():\n    raise ValueError('no sensor')\n")
    led = Listening(bench / "other", ports)
    try:
        result = led_run(bench, 1, ports)
    finally:
        led.close()
    assert not result.success
    assert "cannot prepare" in result.failures[0].message
    assert "no sensor" in result.failures[0].message


def test_a_port_in_use_and_wrong_tokens_are_refused_in_words(bench: Path) -> None:
    ports = free_ports()
    with (
        Controller(0, control_port=ports[0], feedback_port=ports[1]),
        pytest.raises(ControlError, match=f"cannot listen at 127.0.0.1:{ports[0]}"),
    ):
        Controller(0, control_port=ports[0], feedback_port=ports[1])
    for name, content, mode, words in (
        ("short", b"abc", 0o600, "less than 16"),
        ("open", b"a" * 32, 0o644, "others may read"),
        ("none", None, 0, "cannot be read"),
        ("large", b"a" * 10_000, 0o600, "is no file with a token"),
    ):
        path = bench / name
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        with pytest.raises(ControlError, match=words):
            read_token(path)


def test_a_run_goes_on_without_its_controller_which_may_come_back_and_stop_it(
    bench: Path,
) -> None:
    log = ""

    def logged(words: str) -> bool:
        nonlocal log
        log += "".join(line.text for line in led.runs[0].take_log())
        return words in log

    with led_by_syntalos(bench) as (lead, led):
        lead.send("prepare")
        lead.ack("prepare")
        lead.send("start", ts_start_us=time.time_ns() // 1000)
        lead.ack("start")
        lead.pub.unbind(f"tcp://127.0.0.1:{lead.ports[0]}")
        lead.pub.close(0)
        until(lambda: logged("the run goes on"), "the warning")
        before = led.runs[0].status.elapsed_s
        until(lambda: led.runs[0].status.elapsed_s > before + 0.5, "the run")
        lead.pub = lead._context.socket(zmq.XPUB)
        lead.pub.bind(f"tcp://127.0.0.1:{lead.ports[0]}")
        lead.await_listener()
        until(lambda: logged("is back"), "the connection")
        lead.send("stop", success=True)
        assert "error" not in lead.ack("stop")
    assert led.results[0].success


def test_a_led_run_has_the_subject_and_group_of_its_controller(bench: Path) -> None:
    """Also where the bench has another one."""
    with (bench / "bench.toml").open("a") as file:
        file.write('[subject]\nid = "own"\ncomment = "of the bench"\n')
    cli = str(Path(sys.executable).with_name("mlink"))
    with Lead() as lead:
        control, feedback = lead.ports
        ports = [f"--net-control-port={control}", f"--net-feedback-port={feedback}"]
        with subprocess.Popen(
            [cli, "listen", str(bench), "--once", "--out", str(bench / "led"), *ports]
        ) as listener:
            lead.await_listener()
            lead.send("prepare", subject_id="M1", subject_group="controls")
            assert "error" not in lead.ack("prepare")
            lead.send("start", ts_start_us=time.time_ns() // 1000)
            lead.ack("start")
            until(lambda: list((bench / "led").rglob("time-pulses.csv")), "the run")
            lead.send("stop", success=True)
            assert "error" not in lead.ack("stop")
            assert listener.wait(LIMIT_S) == 0
    (manifest,) = (bench / "led").rglob("run.log")
    with mlink.open_recording(manifest.parent) as recording:
        found = recording.attributes
    assert (found["subject_id"], found["subject_group"]) == ("M1", "controls")
    assert "subject_comment" not in found


def test_virtual_time_is_refused(bench: Path) -> None:
    cli = str(Path(sys.executable).with_name("mlink"))
    done = subprocess.run(
        [cli, "run", str(bench), "--time", "virtual", "--for", "1", "--net-lead", "1"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is for real time" in done.stderr


def test_messages_are_bound_to_their_token_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, is_taken in (("Mäuse\u3000A\xa0b", True), ("a\x1b[2J", False), ("a\u202eb", False)):
        found = Wire().read(Wire().frames(Message(1, "stop", "me", RUN_ID, subject_id=name)))
        assert (found is not None) is is_taken
    wire = Wire(b"t" * 32)
    frames = wire.frames(Message(1, "stop", "me", RUN_ID), b"sy.cmd")
    assert wire.read(frames, b"sy.cmd") is not None
    changed = [frames[0], frames[1].replace(b"stop", b"STOP"), frames[2]]
    assert wire.read(changed, b"sy.cmd") is None
    assert "token" in wire.why
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 120)
    assert wire.read(frames, b"sy.cmd") is None
    assert "older than 60 s" in wire.why
