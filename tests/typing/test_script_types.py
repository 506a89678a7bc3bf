"""What expressions of a user's script are to a type checker; mypy runs over this file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
from numpy.typing import NDArray

import syntalos_mlink as syl
from tests.support import ROOT

if TYPE_CHECKING:
    # functions
    assert_type(syl.get_input_port("a"), syl.InputPort | Any)
    assert_type(syl.get_output_port("a"), syl.OutputPort | Any)
    assert_type(syl.time_since_start_msec(), int)
    assert_type(syl.time_since_start_usec(), int)
    assert_type(syl.is_running(), bool)
    assert_type(syl.new_line_command(syl.LineCommandKind.WRITE_DIGITAL, line_id=8), syl.LineCommand)
    assert_type(
        syl.new_firmatactl_with_name(syl.FirmataControlKind.WRITE_DIGITAL, "led"),
        syl.FirmataControl,
    )
    assert_type(syl.init_link(rename_process=True), syl.SyntalosLink)

    # ports
    def ports(inp: syl.InputPort, out: syl.OutputPort) -> None:
        assert_type(inp.name, str)
        assert_type(inp.metadata, dict[str, Any])
        assert_type(inp.on_data, Callable[[Any], object] | None)
        inp.on_data = None
        inp.on_data = print
        inp.on_data = lambda frame: None
        inp.name = "x"  # type: ignore[misc]
        inp.on_data = 5  # type: ignore[assignment]
        out.submit([syl.time_since_start_usec(), "text"])
        out.set_metadata_value("framerate", 30.0)
        out.set_metadata_value_size("size", (640, 480))
        assert_type(out.firmata_register_digital_pin(7, "a", True), syl.FirmataControl)

    # lines
    def lines(out: syl.OutputPort) -> None:
        led = syl.HwOutputLine(out, 8)
        assert_type(led.line_id, int)
        assert_type(led.send_mode(), syl.LineCommand)
        assert_type(led.pulse(duration_usec=2500), syl.LineCommand)
        syl.HwOutputLine(8)  # type: ignore[call-arg,arg-type]
        led.set_valeu(1)  # type: ignore[attr-defined]

    # values
    def values(
        frame: syl.Frame,
        command: syl.LineCommand,
        reading: syl.LineReading,
        control: syl.ControlCommand,
        data: syl.FirmataData,
    ) -> None:
        assert_type(frame.mat, NDArray[Any])
        assert_type(frame.time, timedelta)
        assert_type(frame.time_usec, int)
        assert_type(command.kind, syl.LineCommandKind)
        assert_type(command.flags, syl.LineModeFlags)
        assert_type(syl.LineModeFlags.IS_INPUT | syl.LineModeFlags.PULL_UP, syl.LineModeFlags)
        assert_type(command.extra, bytes)
        assert_type(reading.value, int)
        assert_type(control.kind, syl.ControlCommandKind)
        assert_type(data.pin_name, str)
        assert_type(data.is_digital, bool)
        assert_type(list(syl.MetaSize(640, 480)), list[int])

    # blocks
    def blocks(i32: syl.SignalBlockI32, u16: syl.SignalBlockU16, f32: syl.SignalBlockF32) -> None:
        assert_type(i32.timestamps, NDArray[np.uint64])
        assert_type(i32.data, NDArray[np.int32])
        assert_type(u16.data, NDArray[np.uint16])
        assert_type(f32.data, NDArray[np.float32])
        assert_type(f32.length, int)
        f32.data = np.zeros((4, 2), np.float32)

    # standalone modules
    def standalone(link: syl.SyntalosLink, group: syl.EdlGroup) -> None:
        link.on_prepare = lambda: True
        link.on_save_settings = lambda base_dir: bytes(base_dir)
        link.on_load_settings = lambda data, base_dir: bool(data)
        assert_type(link.register_input_port("a", "A", syl.DataType.Frame), syl.InputPort)
        assert_type(link.register_output_port("a", "A", "Frame"), syl.OutputPort)
        assert_type(link.run_uuid, bytes)
        assert_type(link.root_group, syl.EdlGroup)
        assert_type(link.create_default_dataset(), syl.EdlDataset)
        assert_type(group.create_dataset("d").set_data_file("a.csv"), Path)
        synchronizer = link.init_clock_synchronizer(30.0)
        assert_type(synchronizer, syl.SecondaryClockSynchronizer)
        assert_type(synchronizer.process_timestamp(1, 2), int)
        assert_type(synchronizer.start(), bool)
        assert_type(synchronizer.is_calibrated, bool)
        synchronizer.set_strategies(syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD)

    # names that are not there
    syl.get_inputport("a")  # type: ignore[attr-defined]
    syl.println(5)  # type: ignore[arg-type]


def test_expressions_are_of_these_types(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores"),
            *("--config-file", ROOT / "pyproject.toml", __file__),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_is_marked_as_typed() -> None:
    assert syl.__file__ is not None
    assert (Path(syl.__file__).parent / "py.typed").is_file()
