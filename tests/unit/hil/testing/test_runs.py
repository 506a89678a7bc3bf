"""What a test may leave out of a bench, and the features that it can require."""

from __future__ import annotations

import pytest

from mlink.bench import load_bench
from mlink.errors import BenchError
from mlink_hil.testing.runs import features, leave_out
from tests.support import ROOT

LED_BENCH = ROOT / "hil" / "benches" / "led-follows-button"


@pytest.fixture
def bench():
    return load_bench(LED_BENCH)


def test_a_module_that_is_left_out_takes_its_connections_along(bench):
    left = leave_out(bench, ("finger",))
    assert "finger" not in left.modules
    assert left.modules["latencies"].connections == ()
    with pytest.raises(BenchError, match="no module 'fingers'"):
        leave_out(bench, ("fingers",))


def test_features_say_why_they_are_lacking(bench):
    lacking = features(bench)
    assert lacking["simulated"] == lacking["board"] == lacking["camera"] == ""
    assert lacking["real"] == "eye is virtual:scene, uno is virtual:uno"
