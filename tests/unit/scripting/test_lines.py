"""Line handles and `on_data`: what scripts do most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import syntalos_mlink as syl
from mlink.testing import ScriptRunner
from tests.support.scripts import out


class TestOnData:
    def port(self) -> syl.InputPort:
        port = syl.get_input_port("rows-in")
        assert port is not None
        return port

    def test_can_be_read_back_and_removed(self, runner: ScriptRunner) -> None:
        seen: list[Any] = []
        self.port().on_data = seen.append
        assert self.port().on_data == seen.append
        runner.feed("rows-in", ["a"])
        self.port().on_data = None
        runner.feed("rows-in", ["b"])
        assert self.port().on_data is None
        assert seen == [["a"]]

    @pytest.mark.parametrize(
        ("function", "words"),
        [
            (lambda: None, "no|one argument"),
            (lambda a, b: None, "one argument"),
            (5, "not int"),
            ("name", "not str"),
        ],
    )
    def test_must_take_one_argument(self, runner: ScriptRunner, function: Any, words: str) -> None:
        with pytest.raises(syl.SyntalosPyError, match=f"on_data of port 'rows-in'.*({words})"):
            self.port().on_data = function

    @pytest.mark.parametrize("function", [print, lambda *args: None, lambda a, b=1: None])
    def test_may_take_more_that_has_defaults(self, runner: ScriptRunner, function: Any) -> None:
        self.port().on_data = function

    def test_throttle_skips_what_comes_too_fast(self, runner: ScriptRunner) -> None:
        seen: list[Any] = []
        self.port().on_data = seen.append
        self.port().set_throttle_items_per_sec(10)
        for number in range(10):
            runner.feed("rows-in", [number])
            runner.run_for(50_000)
        assert [row[0] for row in seen] == ["0", "2", "4", "6", "8"]
        self.port().set_throttle_items_per_sec(0)
        runner.feed("rows-in", ["a"])
        runner.feed("rows-in", ["b"])
        assert [row[0] for row in seen[-2:]] == ["a", "b"]

    @pytest.mark.parametrize("wrong", [-1, float("nan")])
    def test_throttle_is_no_negative_number(self, runner: ScriptRunner, wrong: float) -> None:
        with pytest.raises(syl.SyntalosPyError, match="0 or more"):
            self.port().set_throttle_items_per_sec(wrong)

    def test_names_of_ports_cannot_be_changed(self, runner: ScriptRunner) -> None:
        assert self.port().name == "rows-in"
        with pytest.raises(AttributeError):
            self.port().name = "x"  # type: ignore[misc]


class TestLines:
    def test_output_line_sends_what_it_returns(self, runner: ScriptRunner) -> None:
        led = syl.HwOutputLine(out("commands"), 8)
        assert runner.sent("commands-out") == []
        returned = [led.send_mode(), led.set_value(1), led.pulse(), led.pulse_msec()]
        assert runner.sent("commands-out") == returned
        kinds = syl.LineCommandKind
        assert [command.kind for command in returned] == [
            kinds.SET_MODE,
            kinds.WRITE_DIGITAL,
            kinds.WRITE_DIGITAL_PULSE,
            kinds.WRITE_DIGITAL_PULSE,
        ]
        assert returned[0].flags == syl.LineModeFlags.IS_OUTPUT
        assert [command.duration_usec for command in returned[2:]] == [2500, 50_000]
        assert {command.line_id for command in returned} == {led.line_id} == {8}

    def test_analog_line(self, runner: ScriptRunner) -> None:
        line = syl.HwOutputLine(out("commands"), 9, analog=True)
        command = line.set_analog_value(127)
        assert (command.kind, command.value) == (syl.LineCommandKind.WRITE_ANALOG, 127)

    @pytest.mark.parametrize("call", ["set_value", "pulse", "pulse_msec"])
    def test_digital_calls_on_an_analog_line_are_refused(
        self, runner: ScriptRunner, call: str
    ) -> None:
        line = syl.HwOutputLine(out("commands"), 9, analog=True)
        with pytest.raises(syl.SyntalosPyError, match="analog line: use set_analog_value"):
            getattr(line, call)(1)

    @pytest.mark.parametrize(
        ("value", "level"),
        [(0.4, 1), (-1, 1), ("x", 1), (np.int64(2), 1), (0.0, 0), (None, 0), ("", 0), (False, 0)],
    )
    def test_a_digital_line_takes_the_truth_of_a_value(
        self, runner: ScriptRunner, value: object, level: int
    ) -> None:
        assert syl.HwOutputLine(out("commands"), 8).set_value(value).value == level

    def test_a_pulse_below_1_ms_is_exact_with_one_warning(
        self, runner: ScriptRunner, caplog: pytest.LogCaptureFixture
    ) -> None:
        line = syl.HwOutputLine(out("commands"), 8)
        for usec in (250, 500, 2500):
            line.pulse(usec)
        assert [command.duration_usec for command in runner.take("commands-out")] == [
            250,
            500,
            2500,
        ]
        (warning,) = [record.getMessage() for record in caplog.records]
        assert (
            "line 8: this pulse lasts 250 µs; Syntalos makes one below 1 ms last 50 ms" in warning
        )

    def test_analog_calls_on_a_digital_line_are_refused(self, runner: ScriptRunner) -> None:
        line = syl.HwOutputLine(out("commands"), 9)
        with pytest.raises(syl.SyntalosPyError, match="digital line: use set_value"):
            line.set_analog_value(1)

    @pytest.mark.parametrize("pullup", [False, True])
    def test_input_line(self, runner: ScriptRunner, pullup: bool) -> None:
        command = syl.HwInputLine(out("commands"), 7, pullup).send_mode()
        assert command.kind == syl.LineCommandKind.SET_MODE
        assert bool(command.flags & syl.LineModeFlags.IS_INPUT)
        assert bool(command.flags & syl.LineModeFlags.PULL_UP) is pullup

    @pytest.mark.parametrize("kind", [syl.HwOutputLine, syl.HwInputLine])
    def test_a_line_needs_a_port_and_a_number(self, runner: ScriptRunner, kind: Any) -> None:
        with pytest.raises(syl.SyntalosPyError, match=r"NoneType.*bench does not declare"):
            kind(None, 8)
        for wrong in [-1, 65_536, "8"]:
            with pytest.raises(syl.SyntalosPyError, match=r"0\.\.65535"):
                kind(out("commands"), wrong)
