"""A bench with a tap."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.errors import ModuleError
from mlink.tap.attach import add_tap
from mlink.types import DataType
from tests.support import ROOT

LED_BENCH = ROOT / "hil" / "benches" / "led-follows-button"


@pytest.fixture
def bench():
    return load_bench(LED_BENCH)


def test_a_tap_listens_to_every_stream_that_tests_look_at(bench):
    tapped = add_tap(bench, Path("/nowhere/tap"))
    tap = tapped.modules["mlink-tap"]
    streams = {f"{c.source_module}.{c.source_port}": c.port for c in tap.connections}
    assert {"board.fmdata", "cam.video", "loop.firmatactl-out", "loop.table-out"} <= set(streams)
    assert all(stream == port for stream, port in streams.items())
    assert {port.id: port.data_type for port in tap.inputs}["cam.video"] is DataType.Frame
    assert "mlink-tap" not in bench.modules


def test_a_bench_with_a_tap_of_its_own_is_refused(bench):
    with pytest.raises(ModuleError, match="mlink-tap"):
        add_tap(add_tap(bench, Path("/x")), Path("/x"))
