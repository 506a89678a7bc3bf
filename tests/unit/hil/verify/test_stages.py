"""Stages of a closed loop: each trip is followed back from the answer's command to its cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.module import PortSpec
from mlink.transport.codec import small_encoder
from mlink.types import DataType, LineCommand, LineCommandKind, LineReading
from mlink.worker.input_port import WorkerInput
from mlink.worker.output_port import WorkerOutput
from mlink.worker.stages import DONE, SENT, TAKEN, WOKEN, Moment, Moments, StageTimes, read_stages
from mlink_hil.control.messages import LEFT, READ, WRITTEN
from mlink_hil.verify.stages import HOST, NOT_FOLLOWED, WHOLE, Trip, follow

BENCH = """
[bench]
name = "loop"
[devices]
uno = "virtual:uno"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.ctl" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "readings", data_type = "LineReading" }]
ports_out = [{ id = "ctl", data_type = "LineCommand" }]
inputs = { readings = "board.fmdata" }
"""
USEC = 1000


def command(line: int) -> bytes:
    return small_encoder(DataType.LineCommand)(LineCommand(LineCommandKind.WRITE_DIGITAL, line, 1))


def noted(*, answers: int = 8) -> dict[str, Moments]:
    """Moments of one trip that begins at 1000 µs; a command for another line comes first."""
    reading = small_encoder(DataType.LineReading)(LineReading(7, 1, 1000))
    board = [
        Moment(WOKEN, "", -1, 1340 * USEC),
        Moment(SENT, "fmdata", 4, 1400 * USEC, reading),
        Moment(TAKEN, "fmctl", 2, 1550 * USEC, command(3)),
        Moment(DONE, "fmctl", 2, 1560 * USEC),
        Moment(TAKEN, "fmctl", 3, 1600 * USEC, command(answers)),
        Moment(DONE, "fmctl", 3, 1670 * USEC),
    ]
    loop = [
        Moment(TAKEN, "readings", 4, 1480 * USEC, reading),
        Moment(SENT, "ctl", 2, 1490 * USEC, command(3)),
        Moment(SENT, "ctl", 3, 1510 * USEC, command(answers)),
        Moment(DONE, "readings", 4, 1520 * USEC),
    ]
    return {"board": Moments(board), "loop": Moments(loop)}


def trip() -> Trip:
    left = [(LEFT, (1050 + 10 * n) * USEC, 1) for n in range(16)]
    rest = [(WRITTEN, 1300 * USEC, 16), (READ, 1650 * USEC, 3)]
    return Trip(1000 * USEC, 1750 * USEC, [*left, *rest])


@pytest.fixture
def bench(tmp_path: Path):
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "loop.py").write_text("")
    return load_bench(tmp_path / "bench.toml", time="real")


def test_the_stages_of_a_trip_add_up_to_the_whole(bench):
    found = {each.name: each.values for each in follow(bench, "board", noted(), [trip()], 8)}
    assert found == {
        "chip, edge to message": [40],
        "line, to the host": [160],
        "simulator, to the tty": [100],
        "tty, to the reader": [40],
        "reader": [60],
        "pipe, to loop": [80],
        "script loop": [30],
        "pipe, to board": [90],
        "write": [50],
        "tty, to the simulator": [0],
        "line and chip, to the edge": [100],
        HOST: [450],
        WHOLE: [750],
    }


def test_of_a_real_board_chip_line_and_tty_are_one_stage(bench):
    real = trip()._replace(line=[])
    found = {each.name: each.values for each in follow(bench, "board", noted(), [real], 8)}
    assert found["chip, line and tty, to the reader"] == [340]
    assert found["write"] == [70]
    assert found["tty, line and chip, to the edge"] == [80]
    assert found[HOST] == [330]


def test_the_bytes_of_a_usb_packet_leave_together(bench):
    left = [(LEFT, ms * 1000 * USEC, 1) for ms in (0, 1, 1, 1)]  # one before the press
    packet = trip()._replace(line=[*left, (LEFT, 1100 * USEC, 1), *trip().line[16:]])
    found = {each.name: each.values for each in follow(bench, "board", noted(), [packet], 8)}
    assert found["chip, edge to message"] == [0]
    assert found["line, to the host"] == [100]


def test_a_reader_that_wakes_before_the_write_is_noted_has_waited_no_time(bench):
    late = [(kind, ns + 60 * USEC * (kind == WRITTEN), count) for kind, ns, count in trip().line]
    found = follow(bench, "board", noted(), [trip()._replace(line=late)], 8)
    by_name = {each.name: each.values for each in found}
    assert by_name["simulator, to the tty"] == [140]
    assert by_name["tty, to the reader"] == [0]


def test_a_trip_without_its_command_is_counted(bench):
    found = follow(bench, "board", noted(answers=9), [trip()], 8)
    assert [(each.name, each.values) for each in found] == [(NOT_FOLLOWED, [750])]


def test_a_module_writes_the_moments_of_its_items(tmp_path):
    output = WorkerOutput(PortSpec("ctl", DataType.LineCommand))
    port = WorkerInput(PortSpec("readings", DataType.LineReading))
    stages = StageTimes(tmp_path, "loop")
    stages.attach({"readings": port}, {"ctl": output})
    handled = []
    assert port.note is not None
    assert port.timed is not None
    assert output.note is not None
    port.note(0, b"r", None)
    port.timed(handled.append, "item")
    output.note(b"a")
    output.note(b"b")
    stages.save()
    kept = read_stages(tmp_path)["loop"]
    assert handled == ["item"]
    assert kept.left_out == 0
    assert [(m.kind, m.port, m.number, m.payload) for m in kept.moments] == [
        (TAKEN, "readings", 0, b"r"),
        (DONE, "readings", -1, b""),
        (SENT, "ctl", 0, b"a"),
        (SENT, "ctl", 1, b"b"),
    ]
