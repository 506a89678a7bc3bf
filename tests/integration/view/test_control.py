"""Control of a run by its page: who may, what is refused, and that a run is never at risk by it."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mlink import recording
from mlink.storage.account import ACCOUNT
from tests.integration.view.test_program import page_of
from tests.support.shown_run import BENCH, LIMIT_S, Shown

BOARD = """
[devices]
uno = "virtual:uno"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "blinker.lines" }
[modules.blinker]
type = "pyscript"
script = "blinker.py"
ports_in = [{ id = "data", data_type = "LineReading" }]
ports_out = [{ id = "lines", data_type = "LineCommand" }]
inputs = { data = "board.fmdata" }
"""
BLINKER = """
import syntalos_mlink as syl
led = syl.HwOutputLine(syl.get_output_port("lines"), 12)
def start():
    led.send_mode()
def run():
    while syl.is_running():
        syl.wait(20)
        led.set_value(1)
        syl.wait(20)
        led.set_value(0)
"""


def acted(page, **act) -> dict:
    page.ask(kind="act", **act)
    return page.until("Acted")


def command(shown: Shown) -> dict:
    """Let pages command a run in right and wrong ways, and stop it; return how it ended."""
    board = {"target": "board.fmctl"}
    with page_of(shown) as page:
        targets = page.next()["bench"]["targets"]
        assert [each["target"] for each in targets] == [
            "loop.@values", "blinker.@values", "video.control-in", "board.fmctl",
        ]  # fmt: skip
        page.until("Batch")
        high = acted(page, **board, command="high", line=8)
        assert high["taken_usec"] >= high["sent_usec"], high
        assert "refused" not in high
        assert "cannot be used as" in acted(page, **board, command="high", line=200)["refused"]
        assert "no command 'jump'" in acted(page, **board, command="jump", line=8)["refused"]
        assert acted(page, target="video.control-in", command="pause")["act"]["by"] == (
            "owner at 127.0.0.1"
        )
    with page_of(shown, shown.guest_url) as guest:
        refused = acted(guest, **board, command="low", line=8)["refused"]
        assert refused == "this page may only look"
    with page_of(shown) as flood:
        for _ in range(100):  # below the limit of requests, above that of commands
            flood.ask(kind="act", **board, command="high", line=8)
        flood.until("Acted", lambda each: "in a second" in each.get("refused", ""))
    with page_of(shown) as hasty:  # it goes while the pulse lasts
        hasty.ask(kind="act", **board, command="pulse", line=8, duration_usec=400_000)
    with page_of(shown) as page:
        at = page.until("Batch")["time_usec"]
        page.until("Batch", lambda each: each["time_usec"] > at + 1_000_000)
        page.ask(kind="stop")
        return page.until("Ended")


@pytest.mark.sim
def test_commands_stand_beside_those_of_a_script_and_nothing_of_a_page_ends_the_run(
    tmp_path: Path,
) -> None:
    pytest.importorskip("yasimavr")
    (tmp_path / "bench.toml").write_text(BENCH + BOARD + "[view]\ncontrol = true\n")
    (tmp_path / "blinker.py").write_text(BLINKER)
    with closing(Shown(tmp_path)) as shown:
        ended = command(shown)
        text = shown.end()
    assert ended["success"], text
    assert shown.process.returncode == 0, text
    counts = {each["name"]: each for each in ended["streams"]}
    (script,) = counts["blinker.lines"]["subscriptions"]
    assert script["received"] == counts["blinker.lines"]["sent"] > 10
    assert script["lost"] == 0
    (by_hand,) = counts["mlink-view.board.fmctl"]["subscriptions"]
    assert by_hand["received"] == counts["mlink-view.board.fmctl"]["sent"]
    folder = tmp_path / "out" / "recording"
    lines = (folder / "view-commands/commands.csv").read_text().splitlines()
    rows = list(csv.reader(lines, delimiter=";"))[1:]
    assert len([row for row in rows if row[2] == "board.fmctl" and row[1]]) == by_hand["received"]
    refused = [row[8] for row in rows if row[7].startswith("guest")]
    assert refused == ["this page may only look"]
    assert any("in a second" in row[8] for row in rows)
    (pulse,) = (row for row in rows if row[3] == "pulse")
    assert pulse[8] == ""
    with recording.open(folder) as found:
        assert "mlink-view.board.fmctl" in str(found.attributes[ACCOUNT])


def test_without_leave_a_run_takes_no_command_and_says_how(shown: Shown) -> None:
    with page_of(shown) as page:
        assert page.next()["bench"]["targets"] == []
        page.until("Status", lambda each: each["phase"] == "run")
        assert "--view-control" in acted(page, target="video.control-in", command="stop")["refused"]
        page.until("Batch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--view-control"], "it needs --view"),
        (["--view", "--view-control", "--time", "virtual"], "values of scripts alone"),
        (["--view", "--view-control", "--replayable"], "no commands but values of scripts"),
    ],
)
def test_control_is_refused_where_it_would_make_a_run_wrong(
    tmp_path: Path, options: list[str], message: str
) -> None:
    without_scripts = '[modules.src]\ntype = "devel.datasource"\n'
    (tmp_path / "bench.toml").write_text(without_scripts)
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "run", "bench.toml", *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in re.sub(r"\s*│?\n│?\s*", " ", done.stderr + done.stdout)
