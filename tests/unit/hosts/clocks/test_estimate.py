"""The estimate of a host's clock: within what it states, on any link; steps are found.

All in virtual time, 10,000 checks for each link.
"""

from itertools import product
from statistics import median

import pytest

from mlink.hosts.clocks.estimate import FIRST_WINDOW, WINDOW, ClockEstimate
from tests.support.hosts.link_model import LinkModel, S

CHECKS = 10_000


def checked(link, checks=CHECKS):
    """Return the errors and the stated uncertainties, in ns, at random moments."""
    estimate = ClockEstimate()
    found = []
    while len(found) < checks:
        link.advance(S // 8 if estimate.is_known else S // 50)
        if (exchange := link.exchange()) is not None:
            estimate.exchange(*exchange)
        if estimate.is_known:
            link.advance(link.rng.uniform(0, S / 10))
            at_ns = link.host_ns
            error = abs(estimate.offset_ns(at_ns) - link.truth_ns)
            found.append((error, estimate.uncertainty_ns(at_ns)))
    return estimate, found


@pytest.mark.parametrize(
    ("delay_usec", "asymmetry", "ppm"),
    [
        *product([100], [0, 0.3], [100, -100]),
        (10_000, 0.3, 100),
        (10_000, -0.3, -100),
        (10_000, 0.3, 0),
    ],
)
def test_its_error_is_within_what_it_states_in_999_of_1000_checks(delay_usec, asymmetry, ppm):
    """The round trips are 0.2 ms and 20 ms; jitter is a tenth of the delay, 1 % is lost."""
    link = LinkModel(
        delay_ns=1000 * delay_usec, asymmetry=asymmetry, jitter_ns=100 * delay_usec,
        loss=0.01, ppm=ppm, wander_ppm=0.05,
    )  # fmt: skip
    estimate, found = checked(link)
    assert sum(error > stated for error, stated in found) <= CHECKS // 1000
    assert estimate.step_count == 0
    # what it states is no empty promise: half a round trip and a little more
    assert median(stated for _, stated in found) < 1.2 * 1000 * delay_usec


def test_on_a_quiet_link_the_typical_error_is_below_50_usec():
    _, found = checked(LinkModel(delay_ns=100_000, ppm=100, wander_ppm=0.05))
    assert median(error for error, _ in found) < 50_000 / 10


def test_a_link_with_heavy_jitter_on_one_way_is_covered():
    class OneWay(LinkModel):
        def way(self, share):
            busy = self.rng.random() < 0.7 and share > 1
            return self.delay_ns + (self.rng.expovariate(1 / 5e6) if busy else 0)

    _, found = checked(OneWay(asymmetry=0.1, ppm=-40))
    assert sum(error > stated for error, stated in found) <= CHECKS // 1000


def test_a_path_that_becomes_longer_and_unequal_is_covered():
    link = LinkModel(ppm=30)
    estimate = ClockEstimate()
    for number in range(4000):
        link.advance(S // 8)
        if number == 2000:
            link.delay_ns, link.asymmetry = 8_000_000, 0.8
        estimate.exchange(*link.exchange())
        if estimate.is_known:
            at_ns = link.host_ns
            error_ns = abs(estimate.offset_ns(at_ns) - link.truth_ns)
            assert error_ns <= estimate.uncertainty_ns(at_ns)
    assert estimate.step_count == 0


def test_the_rate_is_found():
    for ppm in (-100, 0, 100):
        estimate, _ = checked(LinkModel(ppm=ppm, delay_ns=100_000), 2000)
        assert estimate.rate_ppm == pytest.approx(-ppm, abs=0.2)


@pytest.mark.parametrize("change_ppm", [-500, -30, 30, 500])
def test_a_rate_that_changes_at_once_is_followed_within_what_is_stated(change_ppm):
    """As NTP changes it. What is stated does not have it before exchanges contradict it."""
    link, errors, outside = LinkModel(), [], 0
    estimate, _ = checked(link, 500)
    link.ppm += change_ppm
    for _ in range(400):
        link.advance(S // 8)
        estimate.exchange(*link.exchange())
        at_ns = link.host_ns
        errors.append(abs(estimate.offset_ns(at_ns) - link.truth_ns))
        outside += errors[-1] > estimate.uncertainty_ns(at_ns)
        assert errors[-1] <= 1.5 * estimate.uncertainty_ns(at_ns)
    assert outside <= 4
    assert estimate.rate_ppm == pytest.approx(-change_ppm, abs=1)
    assert max(errors[100:]) < 20_000


def test_nothing_is_known_before_the_first_window():
    link, estimate = LinkModel(), ClockEstimate()
    for _ in range(FIRST_WINDOW - 1):
        link.advance(S // 50)
        estimate.exchange(*link.exchange())
    assert not estimate.is_known
    assert estimate.uncertainty_ns(link.host_ns) > 1e18
    estimate.exchange(*link.exchange())
    assert estimate.is_known


def test_without_exchanges_the_uncertainty_grows_with_what_is_not_known_of_the_rate():
    link = LinkModel(ppm=20, wander_ppm=0.05)
    estimate, _ = checked(link, 500)
    before = estimate.uncertainty_ns(link.host_ns)
    for seconds in (10, 60, 600):
        link.advance(seconds * S)
        error_ns = abs(estimate.offset_ns(link.host_ns) - link.truth_ns)
        grown = estimate.uncertainty_ns(link.host_ns)
        assert error_ns <= grown
        assert grown > before
        before = grown


@pytest.mark.parametrize("jump", [-5 * S, -3_000_000, 3_000_000, 5 * S])
def test_a_step_is_found_by_three_exchanges_and_counted_once(jump):
    link = LinkModel(ppm=50)
    estimate, _ = checked(link, 500)
    link.jump(jump)
    for _ in range(3):
        assert estimate.step_count == 0
        link.advance(S // 8)
        estimate.exchange(*link.exchange())
        error_ns = abs(estimate.offset_ns(link.host_ns) - link.truth_ns)
        assert error_ns <= estimate.uncertainty_ns(link.host_ns)  # it doubts at the first one
    assert estimate.step_count == 1
    assert estimate.steps[0].size_ns == pytest.approx(-jump, abs=300_000)
    for _ in range(10 * WINDOW):
        link.advance(S // 8)
        estimate.exchange(*link.exchange())
    assert estimate.step_count == 1
    assert abs(estimate.offset_ns(link.host_ns) - link.truth_ns) < 20_000


def test_one_exchange_that_contradicts_is_no_step():
    link = LinkModel()
    estimate, _ = checked(link, 300)
    t1, t2, t3, t4 = link.exchange()
    estimate.exchange(t1, t2 + S, t3 + S, t4)
    assert estimate.uncertainty_ns(link.host_ns) > S // 2
    for _ in range(2 * WINDOW):
        link.advance(S // 8)
        estimate.exchange(*link.exchange())
    assert estimate.step_count == 0
    assert estimate.uncertainty_ns(link.host_ns) < 500_000


@pytest.mark.parametrize(
    "readings",
    [(10, 20, 20, 5), (10, 30, 20, 90), (10, 20, 200, 90), (-5, 1, 1, 9), (1, 2, 3, 1 << 62)],
)
def test_readings_that_cannot_be_true_are_refused(readings):
    link = LinkModel()
    estimate, _ = checked(link, 200)
    before = estimate.offset_ns(link.host_ns)
    estimate.exchange(*readings)
    assert estimate.refused == 1
    assert estimate.offset_ns(link.host_ns) == before
