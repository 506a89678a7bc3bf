"""Costs are drawn as often as they were measured, in an order that follows from the seed."""

from __future__ import annotations

from collections import Counter

from mlink.worker.virtual_time.costs import drawn
from mlink.worker_spec import Cost


def test_a_fixed_cost_is_always_the_same():
    draw = drawn(Cost([800], [1]), "0 loop.in")
    assert [draw() for _ in range(3)] == [800, 800, 800]


def test_measured_ones_come_as_often_as_they_were_measured():
    cost = Cost([10, 20, 5000], [700, 299, 1])
    draw = drawn(cost, "0 loop.in")
    found = Counter(draw() for _ in range(20_000))
    assert set(found) == {10, 20, 5000}
    assert abs(found[10] - 14_000) < 300
    assert 3 <= found[5000] <= 45


def test_the_order_follows_from_the_seed():
    cost = Cost([1, 2, 3], [1, 1, 1])

    def order(seed: str) -> list[int]:
        draw = drawn(cost, seed)
        return [draw() for _ in range(50)]

    assert order("7 loop.in") == order("7 loop.in")
    assert order("7 loop.in") != order("8 loop.in") != order("8 loop.b")
    # the same on each machine
    assert order("7 loop.in")[:8] == [2, 1, 2, 1, 2, 3, 3, 3]
