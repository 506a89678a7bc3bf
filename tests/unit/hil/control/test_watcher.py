"""The link that watches and drives a virtual board."""

from __future__ import annotations

import numpy as np
import pytest

from mlink.errors import BenchError, DeviceError
from mlink_hil.control.checked import checked
from mlink_hil.control.messages import Edge, Halt, Noise, Skew, Watch
from mlink_hil.control.watcher import BoardLink
from mlink_hil.faults.kinds import LineNoise, Stall, StuckLine
from tests.support.boards.virtual_uno import open_uno


def test_at_a_barrier_every_edge_before_it_has_been_noted(tmp_path):
    edges: list[Edge] = []
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        link = BoardLink(endpoint.control, edges.append, pins=[9])
        for level in (True, False) * 10:
            board.drive(9, level)
        last = board.read(9).time_ns
        assert link.barrier() >= last
        assert [edge.level for edge in edges] == [True, False] * 10
        with pytest.raises(DeviceError):
            link.drive(99, True)
        with pytest.raises(DeviceError, match="real time: it cannot stand still"):
            link.do(Halt([9]))
        link.close()


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda link: link.drive("9", True), BenchError, "drive.pin='9'.: a whole number is"),
        (lambda link: link.drive(9, "up"), BenchError, "level='up'.: True or False or None is"),
        (lambda link: link.drive(True, True), BenchError, "pin=True"),
        (lambda link: link.analog(0, float("nan")), BenchError, "volts=nan.: a finite number"),
        (lambda link: link.analog(0, 10**400), BenchError, "volts=1000"),
        (lambda link: link.analog(0, "5"), BenchError, "volts='5'"),
        (lambda link: link.analog(0, 6), DeviceError, "6.0 V cannot be put on a pin"),
        (lambda link: link.analog(6, 1), DeviceError, "no analog input A6"),
        (lambda link: link.drive(1, True), DeviceError, "serial line"),
        (lambda link: link.read(1 << 70), DeviceError, "no pin"),
        (lambda link: link.read(object()), BenchError, "pin=<object"),
        (lambda link: link.do(Watch(5)), BenchError, "pins=5.: a list of whole numbers"),
        (lambda link: link.do(Watch([9, None])), BenchError, "pins="),
        (lambda link: link.do(Noise(drop="a")), BenchError, "drop='a'"),
        (lambda link: link.do(Skew(float("inf"))), BenchError, "ppm=inf"),
    ],
)
def test_wrong_arguments_are_refused_in_words_and_the_link_goes_on(tmp_path, ask, error, words):
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        link = BoardLink(endpoint.control, lambda _edge: None, pins=[9])
        for client in (link, board):
            with pytest.raises(error, match=words) as caught:
                ask(client)
            assert "\n  → " in str(caught.value)
            assert client.drive(np.int64(9), np.bool_(True)).level
            assert client.read(9).level
        with pytest.raises(BenchError, match="pins=5"):
            board.watch(5)
        link.close()


def test_a_board_that_has_gone_is_an_error_and_not_a_hang(tmp_path):
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        link = BoardLink(endpoint.control, lambda _edge: None, pins=[9])
        board.quit()

        def read_until_its_program_has_ended() -> None:
            while True:
                link.read(9)

        with pytest.raises(DeviceError, match="does not answer"):
            read_until_its_program_has_ended()
        link.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (LineNoise(target="uno", drop="a"), "linenoise.drop='a'.: a finite number"),
        (LineNoise(target="uno", direction="up"), "'both' or "),
        (StuckLine(target="uno", line=9, level="up"), "level='up'.: True or False"),
        (Stall(target=5), "target=5.: a text"),
    ],
)
def test_arguments_of_faults_are_checked_alike(fault, words):
    with pytest.raises(BenchError, match=words):
        checked(fault)
