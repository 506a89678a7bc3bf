"""A run over two agents on loopback: devices on both, the script on the controller, one recording.

Agents are programs with folders of their own; connections are without keys (`--open`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hosts_lab import free_port

LIMIT_S = 120
SCRIPT = """
import syntalos_mlink as syl
readings = syl.get_input_port("lines")
commands = syl.get_output_port("ctl")
rows = syl.get_output_port("rows")
button = syl.HwInputLine(commands, 7, pullup=True)
led = syl.HwOutputLine(commands, 8)

def prepare():
    readings.on_data = on_reading

def start():
    button.send_mode()
    led.send_mode()

def on_reading(reading):
    if reading is not None and reading.line_id == 7:
        led.set_value(1 - reading.value)
        rows.submit([reading.time_usec, reading.value])
"""
BENCH = """
[hosts]
chamber = {{ address = "tcp/127.0.0.1:{chamber}", island_s = 5 }}
pi = {{ address = "tcp/127.0.0.1:{pi}", island_s = 5 }}
[devices]
uno = "virtual:uno"
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
host = "pi"
size = [160, 120]
framerate = 20
[modules.video]
type = "videorecorder"
host = "pi"
inputs = {{ frames-in = "cam.video" }}
[modules.board]
type = "firmata-io"
device = "uno"
host = "chamber"
inputs = {{ fmctl = "loop.ctl" }}
[modules.finger]
type = "virtual-button"
device = "uno"
host = "chamber"
line = 7
answer_line = 8
presses_hz = 5
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{{ id = "lines", data_type = "LineReading" }}]
ports_out = [{{ id = "ctl", data_type = "LineCommand" }}, {{ id = "rows", data_type = "TableRow" }}]
inputs = {{ lines = "board.fmdata" }}
[modules.events]
type = "table"
inputs = {{ rows = "loop.rows" }}
"""


class Lab:
    """Two agents, and commands of a controller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"chamber": free_port(), "pi": free_port()}
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "loop.py").write_text(SCRIPT)
        (folder / "bench.toml").write_text(BENCH.format(**self.ports))
        for host in self.ports:
            self.begin(host)

    def begin(self, host: str) -> None:
        keys = self.folder / host
        keys.mkdir(exist_ok=True)
        (keys / "agent.toml").write_text(
            f'listen = ["tcp/127.0.0.1:{self.ports[host]}"]\n'
            f'name = "{host}"\nrecordings = "{keys / "recordings"}"\n'
        )
        (keys / "agent.toml").chmod(0o600)
        self.agents[host] = self.start("agent", "--open", keys=keys)

    def start(self, *arguments: str, keys: Path | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "MLINK_HOSTS_DIR": str(keys or self.folder / "desk")}
        return subprocess.Popen(
            [sys.executable, "-m", "mlink", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, text.decode()

    def records(self, host: str) -> bool:
        """Whether a host has begun to record a video."""
        return any((self.folder / host / "recordings").glob("*/*/videos/cam/*.mkv"))

    def close(self) -> None:
        for agent in self.agents.values():
            agent.send_signal(signal.SIGINT)
        for agent in self.agents.values():
            try:
                agent.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.communicate()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def until(done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_one_bench_one_run_one_recording(lab: Lab) -> None:
    code, text = lab.run("run", ".", "--open", "--for", "2s", "--out", "rec", "--json")
    found = json.loads(text[text.index("{") :])
    assert (code, found["failures"]) == (0, []), text
    streams = {f"{each['module']}.{each['port']}": each for each in found["streams"]}
    for source, arrived in (
        ("board.fmdata", "board-fmdata@chamber.stream"),
        ("loop.ctl", "loop-ctl@controller.stream"),
    ):
        assert streams[source]["sent"] == streams[arrived]["sent"] > 0
    assert all(not each["lost"] for one in streams.values() for each in one["subscriptions"])
    (log,) = (lab.folder / "rec").glob("*/*/run.log")
    recording = log.parent
    assert (recording / "pi/videos/cam/manifest.toml").exists()
    assert lab.run("gather", str(recording), "--open")[1] == "nothing is left on other hosts\n"
    code, text = lab.run("verify", str(recording))
    assert (code, "complete and intact" in text) == (0, True), text


def test_what_was_not_gathered_is_named_and_can_be_later(lab: Lab) -> None:
    code, text = lab.run("run", ".", "--open", "--for", "1s", "--out", "rec", "--gather", "later")
    assert code == 0, text
    (log,) = (lab.folder / "rec").glob("*/*/run.log")
    assert "pi: its part is not in this recording" in lab.run("verify", str(log.parent))[1]
    assert lab.run("gather", str(log.parent), "--open") == (0, "chamber: gathered\npi: gathered\n")
    assert "complete and intact" in lab.run("verify", str(log.parent))[1]


def test_a_script_runs_on_a_host_only_where_its_agent_allows_it(lab: Lab) -> None:
    bench = lab.folder / "bench.toml"
    bench.write_text(
        bench.read_text().replace('type = "pyscript"', 'type = "pyscript"\nhost = "pi"')
    )
    for command in (("check", ".", "--open"), ("run", ".", "--open", "--for", "1s")):
        code, text = lab.run(*command)
        assert code != 0
        assert "allow_scripts" in text, text


def test_an_agent_that_is_killed_fails_the_run_by_name_and_others_close(lab: Lab) -> None:
    run = lab.start("run", ".", "--open", "--out", "rec", "--plain")
    until(lambda: lab.records("pi"))
    lab.agents["chamber"].kill()
    lab.agents["chamber"].communicate()
    text = run.communicate(timeout=LIMIT_S)[0].decode()
    assert run.returncode != 0
    assert "chamber" in text, text
    (log,) = (lab.folder / "rec").glob("*/*/run.log")
    assert (log.parent / "pi/videos/cam/manifest.toml").exists(), text
    lab.begin("chamber")


def test_without_its_controller_a_host_stops_in_order_and_keeps_its_files(lab: Lab) -> None:
    run = lab.start("run", ".", "--open", "--out", "rec", "--plain")
    until(lambda: lab.records("pi"))
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    parts = lab.folder / "pi" / "recordings"
    until(
        lambda: any(
            "stop_reason" in each.read_text() for each in parts.glob("*/pi/attributes.toml")
        )
    )
    (part,) = parts.glob("*/pi")
    code, text = lab.run("verify", str(part))
    assert (code, "complete and intact" in text) == (0, True), text
