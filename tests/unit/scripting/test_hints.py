"""What a script has left undone, found at its end."""

from __future__ import annotations

import pytest

from mlink.testing import ScriptRunner
from tests.support.scripts import MakeRunner

HANDLES = """
port = syl.get_output_port("commands-out")
def start():
    sense, led = syl.HwInputLine(port, 2), syl.HwOutputLine(port, 8)
    BODY
"""


def hints_after(make: MakeRunner, body: str) -> list[str]:
    runner = make(HANDLES.replace("BODY", body))
    runner.start()
    runner.stop()
    return runner._context.hints


def test_handles_whose_mode_was_not_sent_are_named(make: MakeRunner) -> None:
    (hint,) = hints_after(make, "led.set_value(1)")
    assert "on port 'commands-out' the mode of line 2, 8 was never sent" in hint


def test_a_handle_that_is_made_again_keeps_its_mode(make: MakeRunner) -> None:
    body = "led.send_mode(); sense.send_mode(); syl.HwOutputLine(port, 8).set_value(1)"
    assert hints_after(make, body) == []


@pytest.mark.parametrize("kind", ["SET_MODE", "DEVICE_SPECIFIC"])
def test_a_mode_may_be_sent_without_the_handle(make: MakeRunner, kind: str) -> None:
    command = f"syl.new_line_command(syl.LineCommandKind.{kind}, 2)"
    assert hints_after(make, f"led.send_mode(); port.submit({command})") == []


def test_on_data_of_a_connected_port_is_no_hint(runner: ScriptRunner) -> None:
    import syntalos_mlink as syl

    port = syl.get_input_port("rows-in")
    assert port is not None
    port.on_data = print
    runner.stop()
    assert runner._context.hints == []
