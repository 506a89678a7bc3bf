"""Lines that are set by `mlink line` while a run lasts: carried out, recorded, bounded."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlink
from mlink.engine.setup.workdir import runs_dir
from mlink.recording.care.verify import verify_recording
from tests.support.refusals import refusal_of

BENCH = """
[modules.panel]
type = "hwline-userctl"
output_ctls = [{ pin_id = 13 }, { pin_id = 5, is_analog = true, value = 20 }]
input_views = [{ pin_id = 7 }]
inputs = { hwline-in = "source.linerd-out" }
[modules.source]
type = "devel.datasource"
fps = 20
[modules.log]
type = "pyscript"
script = "log.py"
ports_in = [{ id = "commands", data_type = "LineCommand" }]
ports_out = [{ id = "rows", data_type = "TableRow" }]
inputs = { commands = "panel.hwline-out" }
[modules.rows]
type = "table"
inputs = { rows = "log.rows" }
use_name_from_source = false
data_name = "sent"
"""
SCRIPT = """
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
def on_command(c):
    rows.submit([c.kind.name, c.line_id, c.value, c.duration_usec, int(c.flags)])
syl.get_input_port("commands").on_data = on_command
"""
MODES = [["SET_MODE", "13", "0", "0", "2"], ["SET_MODE", "5", "0", "0", "2"],
         ["SET_MODE", "7", "0", "0", "1"]]  # fmt: skip


def write(folder: Path) -> Path:
    (folder / "log.py").write_text(SCRIPT)
    (folder / "bench.toml").write_text(BENCH)
    return folder


def line(*words: str) -> subprocess.CompletedProcess[str]:
    cli = Path(sys.executable).with_name("mlink")
    return subprocess.run([cli, "line", *words], capture_output=True, text=True, timeout=250)


def rows_of(recording: mlink.Recording, name: str) -> list[list[str]]:
    return [list(row) for row in recording.table(name).rows]


@pytest.fixture(autouse=True)
def _own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "xdg"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def test_commands_are_carried_out_and_recorded(tmp_path: Path) -> None:
    with mlink.start(write(tmp_path), out=tmp_path / "rec") as run:
        listed = line()
        assert listed.stdout == "panel: 13 (high, low, pulse), 5 (0 to 65535)\n", listed.stderr
        for words in (("13", "high"), ("panel.13", "pulse"), ("5", "65535"), ("13", "low")):
            done = line(*words)
            assert (done.returncode, done.stderr) == (0, ""), words
        for words, refusal in {
            ("4", "high"): "has no line 4 in output_ctls",
            ("13", "up"): "'up' is no value of line 13",
            ("5", "65536"): "is no value of line 5",
            ("5", "high"): "is no value of line 5",
            ("other.13", "high"): "no running modules could be meant; there are: panel",
            ("x", "high"): "sets no line",
            ("13",): "sets no line",
        }.items():
            done = line(*words)
            assert done.returncode == 2
            assert refusal in done.stderr
    assert verify_recording(run.result.recording_dir).ok
    who = pwd.getpwuid(os.getuid()).pw_name
    given = [
        ["13", "WRITE_DIGITAL", "1", who], ["13", "WRITE_DIGITAL_PULSE", "1", who],
        ["5", "WRITE_ANALOG", "65535", who], ["13", "WRITE_DIGITAL", "0", who],
    ]  # fmt: skip
    assert run.result.reports["panel"]["commands"] == 4
    with mlink.open_recording(run.result.recording_dir) as recording:
        recorded = rows_of(recording, "panel")
        sent = rows_of(recording, "sent")
    assert [row[1:] for row in recorded] == given
    times = [int(row[0]) for row in recorded]
    assert times == sorted(times)
    assert sent[:3] == MODES
    assert [row[1:3] for row in sent[3:]] == [["13", "1"], ["13", "1"], ["5", "65535"], ["13", "0"]]
    assert sent[4][3] == "50000"
    done = line("13", "high")
    assert "no running modules" in done.stderr


def test_hostile_clients_do_not_stop_it(tmp_path: Path) -> None:
    with mlink.start(write(tmp_path), record=False) as run:
        (path,) = runs_dir().glob("*/panel.lines")
        assert path.parent.stat().st_mode & 0o077 == 0
        for content in (b"", b"{", b"\xff" * 2000, b"[]", b'{"line": "x"}', b'{"line": 1e99}'):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(content)
                client.shutdown(socket.SHUT_WR)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(path))
            assert line("13", "high").returncode == 0
        time.sleep(0.1)
    assert run.result.success


def test_in_virtual_time_it_sets_modes_and_takes_no_commands(tmp_path: Path) -> None:
    write(tmp_path)
    done = mlink.run(tmp_path, duration_s=0.5, out=tmp_path / "rec", time="virtual")
    with mlink.open_recording(done.recording_dir) as recording:
        assert rows_of(recording, "sent") == MODES


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("output_ctls = [{ pin_id = 256 }]", "<= 255"),
        ("input_views = [{ pin = 2 }]", "pin"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: str, words: str) -> None:
    assert words in refusal_of(tmp_path, "hwline-userctl", settings)
