"""Two boards, wired to each other: what one does, the other sees.

pytest hil/benches/two-boards
"""

import statistics

import pytest

from mlink_hil.testing import edge, reading, row

WIRE_USEC = 5_000  # 20 µs on the simulated wire; a real board's report takes its time
SOON_USEC = 100_000  # one trip on a busy computer
TYPICAL_USEC = 50_000  # the quicker quarter: four messages on two serial lines take 3 ms

pytestmark = pytest.mark.bench("bench.toml")


def test_right_sees_what_left_does(bench):
    pulse = bench.expect(edge(2, board="right"), within_usec=1_000_000, after=bench.now())
    bench.expect(reading(2, board="right"), within_usec=SOON_USEC, after=pulse)


@pytest.mark.mlink_needs("simulated")
def test_an_edge_is_at_the_other_end_of_the_wire_at_once(bench):
    for rising in (True, False):
        sent = bench.expect(
            edge(4, rising=rising, board="left"), within_usec=1_000_000, after=bench.now()
        )
        seen = bench.expect(
            edge(2, rising=rising, board="right"), within_usec=WIRE_USEC, after=sent
        )
        bench.measure(f"wire, rising={rising}", seen.since(sent), at_most=100)


def test_the_answer_comes_back(bench):
    pulse = bench.expect(
        edge(2, rising=True, board="right"), within_usec=1_000_000, after=bench.now()
    )
    back = bench.expect(edge(7, rising=True, board="left"), within_usec=SOON_USEC, after=pulse)
    bench.measure("right to left", back.since(pulse))


def test_every_pulse_makes_its_trip(bench):
    trips = [bench.expect(row("loop.table-out"), within_usec=1_000_000, after=bench.now())]
    while len(trips) < 10:
        trips.append(
            bench.expect(row("loop.table-out"), within_usec=SOON_USEC + 50_000, after=trips[-1])
        )
    quartile = statistics.quantiles([float(trip.cells[2]) for trip in trips], n=4)[0]
    bench.measure("lower quartile of the trips", quartile, "µs", at_most=TYPICAL_USEC)
