"""Scripts of the 2.x generation: pins with names, FirmataControl and FirmataData."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syntalos_mlink as syl
from mlink.errors import BenchError, ScriptError
from mlink.testing import ScriptRunner
from mlink.types import DataType
from tests.support.scripts import MakeRunner

IN = {"firmata-in": "FirmataData"}
OUT = {"firmatactl-out": "FirmataControl", "tab-out": "TableRow"}

SCRIPT_2X = """
iport = syl.get_input_port("firmata-in")
oport = syl.get_output_port("firmatactl-out")
tab = syl.get_output_port("tab-out")

def prepare():
    iport.on_data = on_data

def start():
    oport.firmata_register_digital_pin(7, "switch", is_output=False, is_pullup=True)
    oport.firmata_register_digital_pin(8, "led1", is_output=True)

def on_data(data):
    if data is None or not data.is_digital:
        return
    if data.pin_name != "switch":
        return
    tab.submit([data.time_usec, data.pin_id, data.value])
    oport.firmata_submit_digital_value("led1", data.value)
    if data.value:
        oport.firmata_submit_digital_pulse("led1")

def stop():
    oport.firmata_submit_digital_value("led1", False)
"""


@pytest.fixture
def runner(make: MakeRunner) -> ScriptRunner:
    made = make("", inputs=IN, outputs=OUT)
    made.start()
    return made


def ctl_port() -> syl.OutputPort:
    port = syl.get_output_port("firmatactl-out")
    assert port is not None
    return port


def kinds(items: list[syl.LineCommand]) -> list[str]:
    return [item.kind.name for item in items]


def test_whole_script_of_2x(make: MakeRunner) -> None:
    runner = make(SCRIPT_2X, inputs=IN, outputs=OUT)
    runner.start()
    switch, led = runner.take("firmatactl-out")
    assert (switch.line_id, switch.flags) == (7, 5)
    assert (led.line_id, led.flags) == (8, syl.LineModeFlags.IS_OUTPUT)
    runner.feed("firmata-in", syl.LineReading(7, 1, 1234))
    runner.feed("firmata-in", syl.LineReading(9, 1, 1300))
    value, pulse = runner.take("firmatactl-out")
    assert (value.kind.name, value.line_id, value.value) == ("WRITE_DIGITAL", 8, 1)
    assert (pulse.kind.name, pulse.line_id, pulse.duration_usec) == (
        "WRITE_DIGITAL_PULSE",
        8,
        50_000,
    )
    assert runner.sent("tab-out") == [["1234", "7", "1"]]
    runner.stop()
    assert kinds(runner.sent("firmatactl-out")) == ["WRITE_DIGITAL"]


def test_the_example_of_syntalos_runs_unmodified(make: MakeRunner) -> None:
    """The example of the Python Script module's page: metadata is set in start()."""
    runner = make(
        """
        iport_frame = syl.get_input_port('frame-in')
        oport_frame = syl.get_output_port('frame-out')
        oport_tab = syl.get_output_port('tablerow-out')

        def prepare():
            iport_frame.on_data = on_new_frame_data
            oport_tab.set_metadata_value('table_header', ['Time Received', 'Frame Time'])
            oport_tab.set_metadata_value('data_name_proposal', 'events/table')

        def start():
            oport_frame.set_metadata_value('framerate', iport_frame.metadata['framerate'])
            oport_frame.set_metadata_value_size('size', iport_frame.metadata['size'])

        def on_new_frame_data(frame):
            oport_tab.submit([syl.time_since_start_usec(), frame.time_usec])
            oport_frame.submit(frame)

        def run():
            while syl.is_running():
                syl.await_data()

        def stop():
            pass
        """,
        inputs={"frame-in": "Frame"},
        outputs={"frame-out": "Frame", "tablerow-out": "TableRow"},
        metadata={"frame-in": {"framerate": 50.0, "size": syl.MetaSize(6, 4)}},
    )
    runner.start()
    runner.run_for(1_000_000)
    frame = syl.Frame()
    frame.mat = np.arange(24, dtype=np.uint8).reshape(4, 6)
    frame.time_usec = 990_000
    runner.feed("frame-in", frame)
    runner.stop()
    assert runner.sent("tablerow-out") == [["1000000", "990000"]]
    assert (runner.sent("frame-out")[0].mat == frame.mat).all()
    assert runner.metadata("frame-out")["size"] == syl.MetaSize(6, 4)


class TestControls:
    def send(self, control: syl.FirmataControl) -> None:
        ctl_port().submit(control)

    def test_new_pin_is_registered_by_id_and_name(self, runner: ScriptRunner) -> None:
        control = syl.new_firmatactl_with_id_name(syl.FirmataControlKind.NEW_DIG_PIN, 8, "led1")
        control.is_output = True
        self.send(control)
        by_name = syl.new_firmatactl_with_name(syl.FirmataControlKind.WRITE_DIGITAL, "led1")
        by_name.value = 1
        self.send(by_name)
        mode, write = runner.sent("firmatactl-out")
        assert (mode.kind, mode.line_id) == (syl.LineCommandKind.SET_MODE, 8)
        assert (write.kind, write.line_id, write.value) == (
            syl.LineCommandKind.WRITE_DIGITAL,
            8,
            1,
        )

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            ("WRITE_DIGITAL", 1, ("WRITE_DIGITAL", 1, 0)),
            ("WRITE_ANALOG", 99, ("WRITE_ANALOG", 99, 0)),
            ("WRITE_DIGITAL_PULSE", 20, ("WRITE_DIGITAL_PULSE", 1, 20_000)),
            ("WRITE_DIGITAL_PULSE", 0, ("WRITE_DIGITAL_PULSE", 1, 50_000)),
            ("SYSEX", 5, ("DEVICE_SPECIFIC", 5, 0)),
            ("UNKNOWN", 0, ("UNKNOWN", 0, 0)),
            ("IO_MODE", 0, ("SET_MODE", 0, 0)),
            ("NEW_ANA_PIN", 0, ("SET_MODE", 0, 0)),
        ],
    )
    def test_kinds(
        self, runner: ScriptRunner, kind: str, value: int, expected: tuple[str, int, int]
    ) -> None:
        control = syl.new_firmatactl_with_id(syl.FirmataControlKind[kind], 6)
        control.value = value
        self.send(control)
        (sent,) = runner.sent("firmatactl-out")
        assert (sent.kind.name, sent.value, sent.duration_usec) == expected
        assert sent.line_id == 6

    def test_older_spelling_command(self, runner: ScriptRunner) -> None:
        control = syl.FirmataControl()
        control.command = syl.FirmataCommandKind.WRITE_DIGITAL
        control.pin_id = 3
        self.send(control)
        assert runner.sent("firmatactl-out")[0].kind == syl.LineCommandKind.WRITE_DIGITAL

    def test_unregistered_name_is_refused_with_the_nearest(self, runner: ScriptRunner) -> None:
        ctl_port().firmata_register_digital_pin(8, "led1", True)
        with pytest.raises(syl.SyntalosPyError, match="did you mean 'led1'"):
            ctl_port().firmata_submit_digital_value("led2", True)
        with pytest.raises(syl.SyntalosPyError, match="register it first"):
            ctl_port().firmata_submit_digital_pulse("something else")

    def test_helpers_return_what_they_sent(self, runner: ScriptRunner) -> None:
        made = ctl_port().firmata_register_digital_pin(7, "switch", False, True)
        assert (made.pin_id, made.pin_name, made.is_pullup) == (7, "switch", True)
        pulse = ctl_port().firmata_submit_digital_pulse("switch", 10)
        assert pulse.value == 10

    def test_wrong_kind_is_refused(self, runner: ScriptRunner) -> None:
        control = syl.FirmataControl(99)  # type: ignore[arg-type]
        with pytest.raises(syl.SyntalosPyError, match="FirmataControlKind"):
            self.send(control)

    def test_on_a_port_of_3x_it_works_as_well(self, make: MakeRunner) -> None:
        runner = make("", inputs={}, outputs={"firmatactl-out": "LineCommand"})
        runner.start()
        ctl_port().firmata_register_digital_pin(8, "led1", True)
        ctl_port().submit(syl.LineCommand(syl.LineCommandKind.WRITE_DIGITAL, 8, 1))
        assert kinds(runner.sent("firmatactl-out")) == ["SET_MODE", "WRITE_DIGITAL"]


class TestReceived:
    SCRIPT = """
    seen = []
    port = syl.get_input_port("in")
    port.on_data = seen.append
    """

    def received(self, make: MakeRunner, data_type: str, item: Any) -> Any:
        runner = make(self.SCRIPT, inputs={"in": data_type}, outputs={})
        runner.start()
        runner.feed("in", item)
        return runner.globals["seen"][0]

    def test_a_port_of_3x_receives_readings(self, make: MakeRunner) -> None:
        assert type(self.received(make, "LineReading", syl.LineReading(1))) is syl.LineReading

    def test_a_port_of_2x_receives_firmata_data(self, make: MakeRunner) -> None:
        data = self.received(make, "FirmataData", syl.LineReading(5, 1, 77))
        assert isinstance(data, syl.FirmataData)
        assert (data.pin_id, data.pin_name, data.value, data.is_digital) == (5, "", 1, True)
        assert data.time.total_seconds() == pytest.approx(77e-6)

    def test_commands_come_as_firmata_control(self, make: MakeRunner) -> None:
        command = syl.LineCommand(syl.LineCommandKind.WRITE_DIGITAL_PULSE, 5, 1, 20_000)
        control = self.received(make, "FirmataControl", command)
        assert (control.kind.name, control.pin_id, control.value) == ("WRITE_DIGITAL_PULSE", 5, 20)

    def test_float_blocks_have_64_bits(self, make: MakeRunner) -> None:
        block = syl.SignalBlockF32()
        block.timestamps = np.array([1], np.uint64)
        block.data = np.array([[0.5]], np.float32)
        seen = self.received(make, "FloatSignalBlock", block)
        assert isinstance(seen, syl.FloatSignalBlock)
        assert seen.data.dtype == np.float64

    def test_analog_pins_are_not_digital(self, make: MakeRunner) -> None:
        runner = make(
            """
            seen = []
            syl.get_input_port("in").on_data = seen.append
            def start():
                out = syl.get_output_port("out")
                kind = syl.FirmataControlKind.NEW_ANA_PIN
                out.submit(syl.new_firmatactl_with_id_name(kind, 14, "lever"))
            """,
            inputs={"in": "FirmataData"},
            outputs={"out": "FirmataControl"},
        )
        runner.start()
        runner.feed("in", syl.LineReading(14, 512))
        (data,) = runner.globals["seen"]
        assert (data.pin_name, data.is_digital, data.value) == ("lever", False, 512)


def test_float_block_is_sent_as_float32(make: MakeRunner) -> None:
    runner = make("", inputs={}, outputs={"out": "FloatSignalBlock"})
    runner.start()
    block = syl.FloatSignalBlock()
    block.timestamps = np.array([1], np.uint64)
    block.data = np.array([[0.1]])
    port = syl.get_output_port("out")
    assert port is not None
    port.submit(block)
    assert runner.sent("out")[0].data.dtype == np.float32


def test_names_belong_to_the_board_of_the_port(make: MakeRunner) -> None:
    runner = make(
        """
        seen = []
        for port in ("left-in", "right-in"):
            syl.get_input_port(port).on_data = lambda data: seen.append(data.pin_name)
        def start():
            syl.get_output_port("left-out").firmata_register_digital_pin(7, "left", False)
            syl.get_output_port("right-out").firmata_register_digital_pin(7, "right", False)
        """,
        inputs={"left-in": "FirmataData", "right-in": "FirmataData"},
        outputs={"left-out": "FirmataControl", "right-out": "FirmataControl"},
    )
    runner.start()
    runner.feed("right-in", syl.LineReading(7))
    runner.feed("left-in", syl.LineReading(7))
    assert runner.globals["seen"] == ["right", "left"]


def test_unknown_data_type_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("")
    with pytest.raises(BenchError, match=r"FirmatData.*did you mean 'FirmataData'"):
        ScriptRunner(tmp_path / "script.py", inputs={"in": "FirmatData"})
    assert DataType.from_name("FirmataData") is DataType.LineReading


def test_error_in_a_2x_script_names_its_line(make: MakeRunner) -> None:
    runner = make(
        SCRIPT_2X.replace('"led1", is_output', '"led", is_output'), inputs=IN, outputs=OUT
    )
    runner.start()
    with pytest.raises(ScriptError, match=r'script.py:\d+: oport.firmata_submit_digital_value\("'):
        runner.feed("firmata-in", syl.LineReading(7, 1, 1234))


def test_a_name_of_a_pin_may_be_a_number(runner: ScriptRunner) -> None:
    """One that is unknown is refused in words."""
    port = ctl_port()
    port.firmata_register_digital_pin(7, 70, is_output=True)  # type: ignore[arg-type]
    port.firmata_submit_digital_value(70, True)  # type: ignore[arg-type]
    assert [each.line_id for each in runner.take("firmatactl-out")] == [7, 7]
    with pytest.raises(syl.SyntalosPyError, match="under the name '71'"):
        port.firmata_submit_digital_value("71", True)
