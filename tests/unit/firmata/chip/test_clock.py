"""The board's clock on the host's: exchanges, steps, and ticks that wrap."""

from __future__ import annotations

import contextlib
import random

import msgspec
import pytest

from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.messages import ClockAnswer
from mlink_drivers.firmata.chip.window import ImpossibleMessageError

MSEC = 1_000_000  # ns


class Exchanges:
    """A chip at 2 MHz, true to the host but for `step_usec`; each way takes `way_usec`."""

    def __init__(self, *, exact=True, checked=True):
        self.exact = exact
        self.clock = ChipClock(2_000_000, 10_000, checked=checked)
        self.now_ns = 10**12
        self.step_usec = 0.0

    def run(self, count, way_usec=(150, 150), pause_msec=250, changed=(0, 0)):
        """`changed`: what a bit that changed on the line adds to the times of an answer, ticks."""
        for _ in range(count):
            self.now_ns += pause_msec * MSEC
            query = self.clock.query(self.now_ns)
            there, back = way_usec
            received = self.now_ns / 1000 + 4 * 10 + there + self.step_usec
            ticks = round(received * 2) % (1 << 32)
            received, sent = ticks + changed[0], ticks + 20 + changed[1]
            answer = ClockAnswer(query[2], self.exact, received % (1 << 32), sent % (1 << 32))
            arrival_ns = self.now_ns + round((40 + there + 10 + back) * 1000)
            self.clock.take(answer, arrival_ns)

    def error_usec(self):
        ticks = round((self.now_ns / 1000 + self.step_usec) * 2) % (1 << 32)
        return (self.clock.to_monotonic_ns(ticks) - self.now_ns) / 1000


def test_a_late_way_weighs_little():
    exchanges = Exchanges()
    exchanges.run(40)
    exchanges.run(1, way_usec=(150, 20_000))
    assert abs(exchanges.error_usec()) < 20


def test_a_wrong_start_is_put_right_by_what_no_exchange_can_be():
    exchanges = Exchanges()
    exchanges.run(8, way_usec=(150, 9000), pause_msec=20)  # the machine was busy at the start
    exchanges.run(8)
    assert abs(exchanges.error_usec()) < 150
    exchanges.run(40)
    assert abs(exchanges.clock.rate_ppm) < 20


@pytest.mark.parametrize("changed", [(-128, 0), (0, 128), (-512, 0), (0, 512), (256, 0), (0, -16)])
@pytest.mark.parametrize("way_usec", [(290, 10), (10, 290)])
def test_without_check_values_a_bit_of_an_answer_moves_no_time(way_usec, changed):
    exchanges = Exchanges(checked=False)
    exchanges.run(20, way_usec)
    for _ in range(3):
        with contextlib.suppress(ImpossibleMessageError):
            exchanges.run(1, way_usec, changed=changed)
        for _ in range(8):
            exchanges.run(1, way_usec)
            assert abs(exchanges.error_usec()) <= exchanges.clock.uncertainty_usec


def test_a_step_of_the_chips_clock_is_followed_at_once():
    exchanges = Exchanges()
    exchanges.run(40)
    exchanges.step_usec = -50_000.0  # the chip stood still
    for _ in range(2):
        exchanges.run(1)
        assert abs(exchanges.error_usec()) < 100
        assert abs(exchanges.clock.rate_ppm) < 20
    assert exchanges.clock.unanswered == 0


def test_an_error_that_was_not_stated_is_known_at_the_next_exchange_and_told_once():
    exchanges = Exchanges()
    exchanges.run(20)
    assert exchanges.clock.take_mistake_usec() == 0
    exchanges.step_usec = -30_000  # it stood still
    exchanges.run(3)
    assert abs(exchanges.clock.take_mistake_usec() - 30_000) < 300
    exchanges.run(20)
    assert exchanges.clock.take_mistake_usec() == 0


def test_a_slow_exchange_is_no_error():
    exchanges = Exchanges()
    exchanges.run(20)
    exchanges.run(1, way_usec=(150, 90_000))
    exchanges.run(1, way_usec=(90_000, 150))
    assert exchanges.clock.take_mistake_usec() == 0


def test_a_drift_beyond_the_bound_is_learnt_as_a_rate():
    exchanges = Exchanges()
    exchanges.run(40)
    for _ in range(8):
        exchanges.step_usec += 250.0  # 1000 ppm of the pause
        exchanges.run(1)
        assert abs(exchanges.error_usec()) < 100
    assert abs(exchanges.clock.rate_ppm - 1000) < 50


def test_a_step_is_no_rate_though_ways_differ_afterwards():
    exchanges = Exchanges()
    exchanges.run(40)
    exchanges.step_usec = -50_000.0
    for back_usec in (230, 150) * 4:
        exchanges.run(1, way_usec=(150, back_usec))
        assert abs(exchanges.clock.rate_ppm) < 20
        assert abs(exchanges.error_usec()) < 100


def test_an_inexact_stamp_may_be_off_by_more_before_the_clock_is_doubted():
    exact, inexact = Exchanges(), Exchanges(exact=False)
    for exchanges in (exact, inexact):
        exchanges.run(40)
        exchanges.step_usec = 250.0
        exchanges.run(1)
    assert abs(exact.error_usec()) < 100
    assert abs(inexact.error_usec()) > 200


def test_the_first_exchanges_are_not_trusted_to_be_short():
    exchanges = Exchanges()
    exchanges.run(1)
    assert exchanges.clock.uncertainty_usec > 130  # about half of what it took


def test_a_path_that_has_become_slower_for_good_is_accepted():
    exchanges = Exchanges()
    exchanges.run(40)
    exchanges.run(400, way_usec=(200, 200))
    assert exchanges.clock.shortest_usec == pytest.approx(400, abs=1)


# -- ticks that wrap -----------------------------------------------------------------------------

HALF = 1 << 31


@pytest.fixture
def clock():
    return ChipClock(2_000_000, 10_000)


def test_a_time_is_within_half_the_range_of_the_last_exchange_and_changes_no_other():
    exchanges = Exchanges()
    exchanges.run(20)
    clock, (device_usec, host_ns) = exchanges.clock, msgspec.structs.astuple(exchanges.clock.pair)
    ticks = device_usec * 2
    for distance in (HALF - 1, -HALF, 0, 100, HALF - 1):
        expected_ns = host_ns + distance * 500
        found_ns = clock.to_monotonic_ns((ticks + distance) % (1 << 32))
        assert found_ns == pytest.approx(expected_ns, abs=HALF // 1000)


@pytest.mark.parametrize("minutes", [-17, -30, -100])
def test_a_time_long_ago_is_the_one_nearest_to_what_is_known_of_it(minutes):
    """Such as the first edge of a train that has run for longer than half a round."""
    exchanges = Exchanges()
    exchanges.run(20)
    _, host_ns = msgspec.structs.astuple(exchanges.clock.pair)
    wanted_ns = host_ns + minutes * 60 * 10**9
    ticks = exchanges.clock.to_ticks(wanted_ns)
    found_ns = exchanges.clock.to_monotonic_ns(ticks, wanted_ns + 10**9)
    assert found_ns == pytest.approx(wanted_ns, abs=1000)


def test_times_are_right_after_several_wraps():
    exchanges = Exchanges()
    for _ in range(5):
        exchanges.run(1, pause_msec=16 * 60_000)  # 0.9 of the half range, 4.5 of it in all
        assert abs(exchanges.error_usec()) < 200


def test_the_conversions_are_inverse(clock):
    exchanges = Exchanges()
    exchanges.run(20)
    for distance_ns in (-1_000_000_000, 0, 1_000_000_000):
        wanted_ns = exchanges.now_ns + distance_ns
        ticks = exchanges.clock.to_ticks(wanted_ns)
        assert 0 <= ticks < 1 << 32
        assert abs(exchanges.clock.to_monotonic_ns(ticks) - wanted_ns) <= 500


# -- answers that are of no use ------------------------------------------------------------------


def test_an_answer_without_a_query_is_refused(clock):
    clock.query(10**12)
    with pytest.raises(ImpossibleMessageError, match="to no query"):
        clock.take(ClockAnswer(77, True, 0, 20), 10**12 + MSEC)
    assert not clock.is_set
    assert clock.unanswered == 1


def test_the_same_answer_counts_once(clock):
    query = clock.query(10**12)
    clock.take(ClockAnswer(query[2], True, 0, 20), 10**12 + MSEC)
    with pytest.raises(ImpossibleMessageError, match="to no query"):
        clock.take(ClockAnswer(query[2], True, 0, 20), 10**12 + MSEC)
    assert clock.exchanges == 1


def test_stamps_that_cannot_be_are_refused(clock):
    query = clock.query(10**12)
    # the chip claims to have held the question for 5 ms, the whole exchange took 1 ms
    with pytest.raises(ImpossibleMessageError, match="impossible times"):
        clock.take(ClockAnswer(query[2], True, 0, 10_000), 10**12 + MSEC)
    assert not clock.is_set
    assert clock.uncertainty_usec == -1


@pytest.mark.parametrize(("questions", "is_known"), [(100, True), (101, False)])
def test_of_a_board_that_does_not_answer_a_hundred_questions_are_kept(clock, questions, is_known):
    query = clock.query(10**12)
    for number in range(1, questions):
        clock.query(10**12 + number)
    with contextlib.nullcontext() if is_known else pytest.raises(ImpossibleMessageError):
        clock.take(ClockAnswer(query[2], True, 0, 20), 10**12 + MSEC)


@pytest.mark.parametrize("bit", range(10, 32))
@pytest.mark.parametrize("field", ["received_ticks", "sent_ticks"])
def test_one_flipped_bit_of_an_answer_is_refused_or_within_what_is_stated(field, bit):
    exchanges = Exchanges()
    exchanges.run(40)
    clock = exchanges.clock
    query = clock.query(exchanges.now_ns)
    ticks = exchanges.now_ns // 500 % (1 << 32)
    answer = ClockAnswer(query[2], True, ticks + 400, ticks + 420)
    wrong = msgspec.structs.replace(answer, **{field: getattr(answer, field) ^ 1 << bit})
    with contextlib.suppress(ImpossibleMessageError):
        clock.take(wrong, exchanges.now_ns + 400_000)
    assert abs(exchanges.error_usec()) <= clock.uncertainty_usec
    exchanges.run(1)
    assert abs(exchanges.error_usec()) <= clock.uncertainty_usec < 200


def test_an_inexact_stamp_makes_the_clock_less_sure():
    exact, inexact = ChipClock(2_000_000, 10_000), ChipClock(2_000_000, 10_000)
    for clock, is_exact in ((exact, True), (inexact, False)):
        query = clock.query(10**12)
        clock.take(ClockAnswer(query[2], is_exact, 0, 20), 10**12 + MSEC // 10)
    assert inexact.uncertainty_usec > exact.uncertainty_usec > 0


def test_a_pair_is_one_moment_on_both_clocks():
    exchanges = Exchanges()
    assert exchanges.clock.pair is None
    exchanges.run(5)
    pair = exchanges.clock.pair
    ticks_ns = pair.device_usec * 1000
    wrap_ns = (1 << 32) * 500
    assert abs((ticks_ns - pair.host_ns + wrap_ns // 2) % wrap_ns - wrap_ns // 2) < 200_000


def worst_share(timer_usec: int, frame_usec: int, seed: int) -> float:
    """Largest error of the clock behind an adapter, as a share of what it states.

    Args:
        timer_usec: The adapter sends the board's bytes at multiples of it; 0 at once.
        frame_usec: The host's bytes go at multiples of it; 0 at once.
        seed: Of the phases and delays.
    """
    rng, ppm = random.Random(seed), -70
    clock = ChipClock(2_000_000, 10_000)
    zero_ns = 10**12
    phase = rng.randrange(16_000_000)

    def held(time_ns: int, usec: int) -> int:
        period = usec * 1000
        return ((time_ns - phase) // period + 1) * period + phase if usec else time_ns

    def ticks(time_ns: int) -> int:
        return int(((time_ns - zero_ns) / 1000 * (1 + ppm * 1e-6) + 12_345) * 2)

    worst, now_ns, pause_s = 0.0, zero_ns + rng.randrange(3_000_000), 0.02
    for number in range(120):
        received = held(now_ns + rng.randrange(100_000), frame_usec) + 4 * 10_000
        sent = received + rng.randrange(200_000, 400_000)
        arrival = held(sent + 15 * 10_000, timer_usec) + rng.randrange(30_000)
        question = clock.query(now_ns)
        clock.take(ClockAnswer(question[2], True, ticks(received), ticks(sent)), arrival - 150_000)
        for time_ns in (arrival, arrival + round(pause_s * 1e9)) if number >= 8 else ():
            error_usec = (clock.to_monotonic_ns(ticks(time_ns)) - time_ns) / 1000
            worst = max(worst, abs(error_usec) / clock.uncertainty_usec)
        now_ns = max(now_ns + round(pause_s * 1e9), arrival)
        pause_s = min(0.25, pause_s * 1.04) if number > 16 else pause_s
    return worst


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("timer_usec", "frame_usec"), [(0, 0), (1000, 1000), (16_000, 1000), (0, 1000), (16_000, 0)]
)
def test_no_error_is_beyond_what_is_stated_whatever_the_adapter_holds_back(
    timer_usec: int, frame_usec: int, seed: int
) -> None:
    assert worst_share(timer_usec, frame_usec, seed) <= 1
