"""Ports of scripts: what can be submitted, what is refused and how."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syntalos_mlink as syl
from mlink.testing import ScriptRunner
from tests.support.scripts import out, runners


class TestSubmit:
    @pytest.mark.parametrize(
        ("row", "text"),
        [
            ([1, 2.5, "x", None], ["1", "2.5", "x", "None"]),
            ((1, 2), ["1", "2"]),
            (range(3), ["0", "1", "2"]),
            (np.array([1, 2]), ["1", "2"]),
            ([], []),
        ],
    )
    def test_row_is_any_sequence_and_becomes_text(
        self, runner: ScriptRunner, row: Any, text: list[str]
    ) -> None:
        out("rows").submit(row)
        assert runner.sent("rows-out") == [text]

    @pytest.mark.parametrize("wrong", ["text", b"bytes", 5, None, {"a": 1}])
    def test_what_is_no_sequence_is_no_row(self, runner: ScriptRunner, wrong: Any) -> None:
        with pytest.raises(syl.SyntalosPyError, match=r"port 'rows-out'.*sequence of cells"):
            out("rows").submit(wrong)

    @pytest.mark.parametrize("kind", ["control", "commands", "readings", "frames", "i32", "f32"])
    def test_item_of_another_type_is_refused_with_both_names(
        self, runner: ScriptRunner, kind: str
    ) -> None:
        item: Any = syl.LineReading() if kind == "frames" else syl.Frame()
        with pytest.raises(syl.SyntalosPyError, match=f"{type(item).__name__}.*port of type"):
            out(kind).submit(item)

    def test_line_command_takes_numpy_numbers_and_booleans(self, runner: ScriptRunner) -> None:
        command = syl.LineCommand(syl.LineCommandKind.WRITE_DIGITAL)
        command.line_id = np.int64(8)  # type: ignore[assignment]
        command.value = True
        command.kind = 2  # type: ignore[assignment]
        out("commands").submit(command)
        (sent,) = runner.sent("commands-out")
        assert (sent.kind, sent.line_id, sent.value) == (syl.LineCommandKind.WRITE_DIGITAL, 8, 1)
        assert type(sent.value) is int

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("line_id", 65_536, "out of range"),
            ("line_id", -1, "out of range"),
            ("value", 1 << 32, "out of range"),
            ("value", 1.5, "LineCommand.value must be a whole number"),
            ("line_id", "8", "LineCommand.line_id must be a whole number"),
            ("kind", 99, "LineCommandKind.SET_MODE"),
            ("flags", "x", "LineModeFlags.PULL_UP"),
            ("extra", "text", "must be bytes"),
            ("duration_usec", 1 << 70, "cannot be sent"),
        ],
    )
    def test_line_command_out_of_range_is_refused(
        self, runner: ScriptRunner, field: str, value: object, words: str
    ) -> None:
        command = syl.LineCommand(syl.LineCommandKind.WRITE_DIGITAL, 8)
        setattr(command, field, value)
        with pytest.raises(syl.SyntalosPyError, match=words):
            out("commands").submit(command)
        assert runner.sent("commands-out") == []

    def test_line_command_carries_a_payload(self, runner: ScriptRunner) -> None:
        command = syl.LineCommand(syl.LineCommandKind.DEVICE_SPECIFIC)
        command.extra = bytearray(b"\x01\x02")  # type: ignore[assignment]
        out("commands").submit(command)
        assert runner.sent("commands-out")[0].extra == b"\x01\x02"

    @pytest.mark.parametrize(("field", "value"), [("line_id", 1 << 16), ("value", -1)])
    def test_line_reading_out_of_range_is_refused(
        self, runner: ScriptRunner, field: str, value: int
    ) -> None:
        reading = syl.LineReading()
        setattr(reading, field, value)
        with pytest.raises(syl.SyntalosPyError, match="out of range"):
            out("readings").submit(reading)

    def test_control_command(self, runner: ScriptRunner) -> None:
        command = syl.ControlCommand(syl.ControlCommandKind.CUSTOM)
        command.command = "zero"
        command.duration = np.uint8(20)  # type: ignore[assignment]
        out("control").submit(command)
        assert runner.sent("control-out") == [
            syl.ControlCommand(syl.ControlCommandKind.CUSTOM, 20, "zero")
        ]

    @pytest.mark.parametrize(("field", "value"), [("command", 5), ("duration", "long")])
    def test_control_command_of_wrong_values_is_refused(
        self, runner: ScriptRunner, field: str, value: object
    ) -> None:
        command = syl.ControlCommand()
        setattr(command, field, value)
        with pytest.raises(syl.SyntalosPyError, match=f"ControlCommand.{field}"):
            out("control").submit(command)

    def test_what_is_sent_is_what_it_was_then(self, runner: ScriptRunner) -> None:
        reading = syl.LineReading(1, 1)
        out("readings").submit(reading)
        reading.value = 2
        out("readings").submit(reading)
        assert [item.value for item in runner.sent("readings-out")] == [1, 2]


class TestArrays:
    def frame(self, mat: Any, index: int = 0) -> syl.Frame:
        frame = syl.Frame()
        frame.mat = mat
        frame.index = index
        return frame

    def test_array_that_is_not_contiguous_is_sent_as_it_looks(self, runner: ScriptRunner) -> None:
        picture = np.arange(48, dtype=np.uint8).reshape(6, 8)[::2, ::-1]
        assert not picture.flags.c_contiguous
        out("frames").submit(self.frame(picture, 3))
        (sent,) = runner.sent("frames-out")
        assert (sent.mat == picture).all()
        assert sent.index == 3

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "f4", "f8"])
    def test_every_depth_of_opencv_can_be_sent(self, runner: ScriptRunner, dtype: str) -> None:
        out("frames").submit(self.frame(np.ones((2, 3), dtype)))
        assert runner.sent("frames-out")[0].mat.dtype == dtype

    @pytest.mark.parametrize(
        ("mat", "words"),
        [
            (np.zeros(5, np.uint8), "H×W"),
            (np.zeros((2, 2, 2, 2), np.uint8), "H×W"),
            (np.zeros((0, 5), np.uint8), "not empty"),
            (np.zeros((2, 2), bool), "arrays of bool cannot be sent"),
            (np.zeros((2, 2), object), "cannot be sent"),
            ([[1, 2]], "must be a NumPy array"),
        ],
    )
    def test_what_is_no_picture_is_refused(
        self, runner: ScriptRunner, mat: Any, words: str
    ) -> None:
        with pytest.raises(syl.SyntalosPyError, match=words):
            out("frames").submit(self.frame(mat))

    def test_huge_frame_is_refused_with_the_limit(self, runner: ScriptRunner) -> None:
        huge = np.broadcast_to(np.uint8(0), (40_000, 40_000))
        with pytest.raises(syl.SyntalosPyError, match=r"limit of \d+ bytes"):
            out("frames").submit(self.frame(huge))

    def test_signal_block(self, runner: ScriptRunner) -> None:
        block = syl.SignalBlockI32()
        block.timestamps = np.array([1, 2, 3], np.uint64)
        block.data = np.array([[1, 2], [3, 4], [5, 6]])
        out("i32").submit(block)
        (sent,) = runner.sent("i32-out")
        assert sent.data.tolist() == [[1, 2], [3, 4], [5, 6]]
        assert sent.timestamps.tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("timestamps", "data", "words"),
        [
            ([1], [[1], [2]], "1 timestamps for 2 samples"),
            ([1], [[[1]]], "must be a 2-D array"),
            ([1], [[1 << 40]], "2-D array of int32"),
            ([-1], [[1]], "1-D array of uint64"),
            ([1], [["x"]], "2-D array of int32"),
        ],
    )
    def test_signal_block_of_wrong_shape_or_values_is_refused(
        self, runner: ScriptRunner, timestamps: Any, data: Any, words: str
    ) -> None:
        block = syl.SignalBlockI32()
        block.timestamps = np.array(timestamps)
        block.data = np.array(data)
        with pytest.raises(syl.SyntalosPyError, match=words):
            out("i32").submit(block)


def test_submitting_before_the_start_is_refused(tmp_path: Path) -> None:
    with runners(tmp_path) as make:
        make("def prepare(): pass").prepare()
        with pytest.raises(syl.SyntalosPyError, match="the run has not started"):
            out("rows").submit([1])


def test_submitting_from_other_threads_loses_nothing(runner: ScriptRunner) -> None:
    rows = out("rows")
    threads = [
        threading.Thread(target=lambda n=n: [rows.submit([n, i]) for i in range(500)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runner.sent("rows-out")) == 2000


def test_ports_that_are_not_there_are_none(runner: ScriptRunner) -> None:
    assert syl.get_input_port("nothing") is None
    assert syl.get_output_port("rows-in") is None
