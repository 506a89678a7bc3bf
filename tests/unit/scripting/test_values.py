"""The values of the script interface: what can be made of them, set on them, compared."""

from __future__ import annotations

from datetime import timedelta

import cv2
import numpy as np
import pytest

import syntalos_mlink as syl


class TestMetaSize:
    def test_is_made_of_width_and_height(self) -> None:
        size = syl.MetaSize(640, 480)
        assert (size.width, size.height) == (640, 480)

    def test_iterates_as_width_and_height(self) -> None:
        width, height = syl.MetaSize(640, 480)
        assert (width, height) == (640, 480)

    def test_compares_by_value(self) -> None:
        assert syl.MetaSize(640, 480) == syl.MetaSize(640, 480)
        assert syl.MetaSize(640, 480) != syl.MetaSize(480, 640)

    def test_repr(self) -> None:
        assert repr(syl.MetaSize(640, 480)) == "MetaSize(640, 480)"

    def test_is_used_as_the_tuple_that_it_was_in_2x(self) -> None:
        size = syl.MetaSize(640, 480)
        assert (size[0], size[1], size[-1], len(size)) == (640, 480, 480, 2)
        assert size == (640, 480) == size
        assert size != (640, 481)
        assert size < (641, 0)
        assert (100, 100) <= size  # noqa: SIM300 - the tuple is first here
        assert size[::-1] == (480, 640)
        assert {(640, 480): "VGA"}[size] == "VGA"
        assert np.zeros((10, 10, 3)).shape != size
        assert cv2.resize(np.zeros((2, 2), np.uint8), size).shape == (480, 640)
        with pytest.raises(IndexError):
            size[2]

    def test_can_be_changed(self) -> None:
        size = syl.MetaSize()
        size.width = 3
        assert size == syl.MetaSize(3, 0)


class TestFrame:
    def test_new_frame_is_empty(self) -> None:
        frame = syl.Frame()
        assert frame.mat.size == 0
        assert frame.time == timedelta(0)

    def test_time_and_time_usec_are_the_same(self) -> None:
        frame = syl.Frame()
        frame.time_usec = 1_500_001
        assert frame.time == timedelta(seconds=1, microseconds=500_001)
        frame.time = timedelta(milliseconds=2)
        assert frame.time_usec == 2000

    def test_time_may_be_set_in_seconds(self) -> None:
        frame, reading = syl.Frame(), syl.LineReading()
        frame.time = 1.5  # type: ignore[assignment]  # wider than what it returns
        reading.time = np.float64(0.25)  # type: ignore[assignment]
        assert (frame.time_usec, reading.time_usec) == (1_500_000, 250_000)
        with pytest.raises(TypeError, match="timedelta or a number of seconds, not str"):
            frame.time = "soon"  # type: ignore[assignment]
        with pytest.raises(ValueError, match="finite"):
            frame.time = float("nan")  # type: ignore[assignment]

    def test_mat_may_be_any_picture(self) -> None:
        frame = syl.Frame()
        for shape in [(4, 6), (4, 6, 3)]:
            frame.mat = np.ones(shape, np.uint8)
            assert frame.mat.shape == shape

    def test_mat_of_the_script_is_not_copied(self) -> None:
        picture = np.zeros((2, 2), np.uint8)
        frame = syl.Frame()
        frame.mat = picture
        frame.mat[0, 0] = 9
        assert picture[0, 0] == 9


class TestCommands:
    def test_control_command_takes_its_kind(self) -> None:
        command = syl.ControlCommand(syl.ControlCommandKind.START)
        assert command.kind is syl.ControlCommandKind.START

    def test_line_command_takes_its_kind(self) -> None:
        command = syl.LineCommand(syl.LineCommandKind.WRITE_DIGITAL)
        assert command.kind == syl.LineCommandKind.WRITE_DIGITAL

    def test_new_line_command(self) -> None:
        command = syl.new_line_command(syl.LineCommandKind.WRITE_ANALOG, 9, 127)
        assert (command.kind, command.line_id, command.value) == (
            syl.LineCommandKind.WRITE_ANALOG,
            9,
            127,
        )
        assert syl.new_line_command(syl.LineCommandKind.WRITE_DIGITAL, line_id=8).value == 0

    def test_line_reading_time(self) -> None:
        reading = syl.LineReading()
        reading.time = timedelta(microseconds=77)
        assert reading.time_usec == 77
        assert reading.time == timedelta(microseconds=77)


class TestEnums:
    def test_flags_combine(self) -> None:
        flags = syl.LineModeFlags.IS_INPUT | syl.LineModeFlags.PULL_UP
        assert flags & syl.LineModeFlags.PULL_UP
        assert not flags & syl.LineModeFlags.IS_OUTPUT
        assert int(flags) == 5

    def test_strategies_allow_arithmetic(self) -> None:
        both = syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD + syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
        assert both == (
            syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD | syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
        )

    def test_members_compare_and_hash(self) -> None:
        table = {syl.LineCommandKind.SET_MODE: "mode"}
        assert table[syl.LineCommandKind.SET_MODE] == "mode"
        assert syl.LineCommandKind.SET_MODE != syl.LineCommandKind.WRITE_DIGITAL
        assert syl.DataType.Frame != syl.DataType.TableRow

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("FirmataControl", "LineCommand"),
            ("FirmataData", "LineReading"),
            ("IntSignalBlock", "SignalBlockI32"),
            ("FloatSignalBlock", "SignalBlockF32"),
        ],
    )
    def test_data_types_of_2x_are_those_of_3x(self, old: str, new: str) -> None:
        assert syl.DataType[old] is syl.DataType[new]


class TestSignalBlock:
    @pytest.mark.parametrize(
        ("kind", "dtype"),
        [
            (syl.SignalBlockI32, np.int32),
            (syl.SignalBlockU16, np.uint16),
            (syl.SignalBlockF32, np.float32),
        ],
    )
    def test_lists_and_other_numbers_become_its_type(
        self, kind: type[syl.SignalBlockI32], dtype: type
    ) -> None:
        block = kind()
        block.timestamps = [10, 20]  # type: ignore[assignment]
        block.data = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        assert block.timestamps.dtype == np.uint64
        assert block.data.dtype == dtype
        assert (block.length, block.rows, block.cols) == (2, 2, 3)

    def test_a_plain_list_of_samples_is_one_channel(self) -> None:
        block = syl.SignalBlockF32()
        block.data = np.array([1.0, 2.0, 3.0])
        assert (block.rows, block.cols) == (3, 1)

    def test_an_array_of_its_type_is_not_copied(self) -> None:
        samples = np.zeros((4, 2), np.int32)
        block = syl.SignalBlockI32()
        block.data = samples
        assert block.data is samples

    @pytest.mark.parametrize("wrong", [[[70_000]], [[-1]], [[float("nan")]], [[float("inf")]]])
    def test_values_out_of_range_are_not_changed(self, wrong: list[list[float]]) -> None:
        block = syl.SignalBlockU16()
        block.data = np.array(wrong)
        np.testing.assert_array_equal(block.data, wrong)

    def test_float_block_of_2x_has_64_bits(self) -> None:
        block = syl.FloatSignalBlock()
        block.data = np.array([[0.1]])
        assert block.data.dtype == np.float64
        assert isinstance(block, syl.SignalBlockF32)
