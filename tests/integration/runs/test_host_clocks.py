"""A host in a network and a time namespace of its own follows this machine's clock.

tests/support/hosts/measure.py has more links, and 10,000 checks of each.
"""

from __future__ import annotations

import pytest

from tests.support.hosts.measure import LINKS, follow
from tests.support.hosts.room import AHEAD_S, why_there_is_none

CHECKS = 500


@pytest.fixture(scope="module", autouse=True)
def room_is_granted() -> None:
    if why := why_there_is_none():
        pytest.skip(why)


@pytest.mark.parametrize(
    ("link", "ppm"), [("veth alone", 100.0), ("20 ms, 30 % unequal, 10 % lost, overtaking", -100.0)]
)
def test_its_times_are_within_what_it_states(link: str, ppm: float) -> None:
    found = follow(LINKS[link], ppm, CHECKS)
    assert found["checks"] == CHECKS
    assert found["outside"] <= CHECKS // 1000
    assert found["clock_state"] == "following"
    assert found["clock_steps"] == 0
    # the clocks do differ, and by what the time namespace says
    assert found["clock_offset_usec"] == pytest.approx(-AHEAD_S * 1e6, abs=2e5)
