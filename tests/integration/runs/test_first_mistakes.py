"""Mistakes of the first hour: each message says what is wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.cli import app
from tests.support import ROOT

pytestmark = pytest.mark.any_pace

BENCH = (ROOT / "hil/benches/led-follows-button/bench.toml").read_text()
SCRIPT = (ROOT / "hil/benches/led-follows-button/loop.py").read_text()
SECOND = '\n[modules.second]\ntype = "firmata-io"\ndevice = "uno"\n'

# mistake → (text of the file, what it is replaced with, what `mlink check` says)
FOUND_BY_CHECK = {
    "a missing comma": (
        "[640, 480]",
        "[640 480]",
        ("line 28", "size = [640 480]", "Put commas between the values"),
    ),
    "a text in place of a number": (
        "framerate = 30",
        'framerate = "30"',
        ("[modules.cam] framerate: expected 'float', got 'str'", "a number has no quotes"),
    ),
    "a misspelt setting": (
        "framerate = 30",
        "framrate = 30",
        ("[modules.cam] framrate: unknown key", "Did you mean 'framerate'?"),
    ),
    "a misspelt type": (
        '"camera-generic"',
        '"camera"',
        ("[modules.cam] type: unknown module type", "Did you mean 'camera-generic'?"),
    ),
    "a misspelt port in the bench": (
        '"board.fmdata"',
        '"board.fmdat"',
        ("inputs.firmata-in: 'board' (firmata-io) has no output port 'fmdat'", "'fmdata'?"),
    ),
    "two modules on one board": (
        "[modules.loop]",
        SECOND + "[modules.loop]",
        ("[modules.second] device: module 'board' uses 'virtual:uno'", "Remove one of them"),
    ),
    "a misspelt port in the script": (
        '"firmata-in")',
        '"firmata_in")',
        ("loop.py, line 9: the bench declares no port 'firmata_in'", "'firmata-in'?"),
    ),
    "a colon that is missing": (
        "def start():",
        "def start()",
        ("loop.py, line 27: expected ':'",),
    ),
    "a coroutine": (
        "def start():",
        "async def start():",
        ("loop.py, line 27: start() is `async def`", "Write `def`, without `await`."),
    ),
}
# mistake → (text of the script, what it is replaced with, what `mlink run` says)
FOUND_BY_RUN = {
    "a method that does not exist": (
        "led.set_value(",
        "led.set_vale(",
        ("loop.py:43: led.set_vale(", "Did you mean 'set_value'?"),
    ),
    "a name that does not exist": (
        "= on_reading",
        "= on_readin",
        ("loop.py:22", "name 'on_readin' is not defined", "Did you mean 'on_reading'?"),
    ),
    "a package that is not installed": (
        "import syntalos_mlink",
        "import numpyy\nimport syntalos_mlink",
        ("loop.py:3: import numpyy", "-m pip install"),
    ),
    "a pin that the board does not have": (
        "LED_LINE = 8",
        "LED_LINE = 77",
        ("line 77 of mlink_firmata uno", "the board has pins 0 to 19"),
    ),
    "a loop that never waits": (
        "def stop():",
        "def run():\n    while syl.is_running():\n        pass\n\n\ndef stop():",
        ("Hint: loop: run() never waited", "call syl.wait(1)"),
    ),
}
# words after `mlink` → what it says; the bench is in the folder "loop"
WRONG_WORDS = {
    "a unit that does not exist": (["run", "loop", "--for", "5 x"], ("'5 x'", "2min")),
    "a bench that is not there": (["run", "lop"], ("there is no file lop", "Did you mean 'loop'?")),
    "no bench in this folder": (["run"], ("there is no file bench.toml", "benches: loop")),
    "a command that does not exist": (["rum", "loop"], ("'rum'", "'run'?")),
    "a board that is not there": (
        ["board", "nope"],
        ("there is no device at nope", "Plug the board in"),
    ),
    "a new bench without a name": (
        ["new", "bench"],
        ("cannot be the name", "mlink new led-follows-button NAME"),
    ),
}


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns what `mlink` says in a folder with the bench "loop"; one text in it is replaced."""
    monkeypatch.chdir(tmp_path)

    def say(*words: str, old: str = "", new: str = "") -> str:
        folder = tmp_path / "loop"
        folder.mkdir()
        for name, text in (("bench.toml", BENCH), ("loop.py", SCRIPT)):
            (folder / name).write_text(text.replace(old, new, 1) if old else text)
        assert not old or old in BENCH + SCRIPT
        result = CliRunner().invoke(app, list(words))
        return " ".join((result.stdout + result.stderr).split())

    return say


@pytest.mark.parametrize("mistake", FOUND_BY_CHECK)
def test_check_finds_it(say, mistake: str) -> None:
    old, new, expected = FOUND_BY_CHECK[mistake]
    said = say("check", "loop", old=old, new=new)
    assert not [text for text in expected if text not in said], said


@pytest.mark.sim
@pytest.mark.parametrize("mistake", FOUND_BY_RUN)
def test_a_run_finds_it(say, mistake: str) -> None:
    old, new, expected = FOUND_BY_RUN[mistake]
    words = ("run", "loop", "--for", "0.3", "--time", "virtual", "--no-record")
    said = say(*words, old=old, new=new)
    assert not [text for text in expected if text not in said], said


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_the_command_line_names_it(say, mistake: str) -> None:
    words, expected = WRONG_WORDS[mistake]
    said = say(*words)
    assert not [text for text in expected if text not in said], said
