"""The link that watches and drives a virtual board."""

from __future__ import annotations

import pytest

from mlink.errors import DeviceError
from mlink_hil.control.messages import Edge, Halt
from mlink_hil.control.watcher import BoardLink
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
