"""`mlink flash`, as far as it works without a board."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmware.flash import avrdude_command, flash
from mlink_drivers.firmware.images import firmware_path
from tests.support.boards.firmware_chip import ROOT


@pytest.mark.parametrize("board", ["uno", "nano", "nano-old", "mega", "leonardo"])
def test_dry_run_shows_the_command(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    flash("/dev/ttyACM9", board=board, dry_run=True)
    shown = capsys.readouterr().out.strip()
    assert shown == shlex.join(avrdude_command("/dev/ttyACM9", board, firmware_path(board)))
    assert shown.startswith("avrdude -p atmega")
    assert "-P /dev/ttyACM9" in shown


def test_a_missing_port_and_an_unknown_board_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/avrdude")
    with pytest.raises(DeviceError, match="there is no port"):
        flash("/dev/ttyACM99", board="uno", dry_run=False)
    with pytest.raises(DeviceError, match="no firmware for 'due'"):
        flash("/dev/ttyACM9", board="due", dry_run=True)


def test_a_missing_avrdude_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(DeviceError, match="avrdude is missing"):
        flash("/dev/null", board="uno", dry_run=False)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("avrdude: stk500_recv(): programmer is mute", "programmer is mute"),
        (
            "avrdude: AVR device initialized and ready to accept instructions\n"
            "Reading | ##### | 100% 0.01s\n"
            "avrdude: Device signature = 0x1e950f (probably m328p)\n"
            "avrdude: Expected signature for ATmega2560 is 1E 98 01",
            "Expected signature for ATmega2560",
        ),
    ],
)
def test_the_reason_of_avrdude_is_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, reason: str
) -> None:
    program = tmp_path / "avrdude"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    port = tmp_path / "ttyACM0"
    port.touch()
    with pytest.raises(DeviceError, match=reason) as caught:
        flash(str(port), board="mega", dry_run=False)
    assert "Is it a mega?" in (caught.value.remedy or "")


@pytest.mark.skipif(shutil.which("avr-g++") is None, reason="gcc-avr is not installed")
def test_the_committed_hex_files_are_what_the_source_builds(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "firmware", tmp_path / "firmware", ignore=shutil.ignore_patterns("build")
    )
    done = subprocess.run(
        ["make", "-s", "-C", str(tmp_path / "firmware"), "check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
