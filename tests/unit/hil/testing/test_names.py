"""Names of boards, cameras and streams, given by a test or left out."""

from __future__ import annotations

import pytest

from mlink.bench import load_bench
from mlink.errors import BenchError
from mlink_hil.testing.names import Names
from tests.support import ROOT

LED_BENCH = ROOT / "hil" / "benches" / "led-follows-button"


@pytest.fixture
def bench():
    return load_bench(LED_BENCH)


def test_names_are_found_without_a_name_where_there_is_one(bench):
    names = Names(bench, {"uno"}.__contains__, {"loop.table-out": {"table_header": ["a", "b"]}}, {})
    assert names.board() == names.board("uno") == names.board("board") == "uno"
    assert names.line_channel(8, None) == "uno.8"
    assert names.reading_channel(8, None) == "board.fmdata.8"
    assert names.frame_stream() == names.frame_stream("eye") == "cam.video"
    assert names.row_stream() == names.row_stream("loop") == "loop.table-out"
    assert names.columns("loop.table-out") == ["a", "b"]
    with pytest.raises(BenchError, match="no board 'due'"):
        names.board("due")


def test_on_a_real_board_an_edge_is_what_the_board_reports(bench):
    names = Names(bench, set[str]().__contains__, {}, {})
    assert names.line_channel(8, None) == "board.fmdata.8"
