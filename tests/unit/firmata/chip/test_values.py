"""The values behind a board with a clock: which edges are news, which pulses have ended."""

from __future__ import annotations

import pytest

from mlink_drivers.firmata.chip.analog import ChipAnalog, scans_per_block
from mlink_drivers.firmata.chip.messages import AnalogBlock
from mlink_drivers.firmata.chip.numbers import BlockNumbers, BoardCount
from mlink_drivers.firmata.chip.pulses import ChipPulses
from mlink_drivers.firmata.lines.chip_inputs import ChipInputs
from mlink_drivers.firmata.link.pace import SPARE_BYTES, Pace

MSEC = 1_000_000  # ns


# -- inputs ------------------------------------------------------------------------------------


def test_a_line_is_live_from_the_answer_to_its_last_order_on():
    inputs = ChipInputs()
    inputs.expect(7)
    inputs.expect(7)
    assert not inputs.answered(7, False, 10 * MSEC)
    assert not inputs.is_news(7, True, 11 * MSEC)
    assert inputs.answered(7, False, 12 * MSEC)
    assert not inputs.is_news(7, True, 11 * MSEC)  # queued before the line was set up
    assert inputs.is_news(7, True, 13 * MSEC)
    assert not inputs.answered(7, False, 14 * MSEC)  # no order is unanswered


def test_an_edge_that_is_in_the_first_level_is_not_reported_twice():
    inputs = ChipInputs()
    inputs.expect(7)
    inputs.answered(7, True, 10 * MSEC)
    assert not inputs.is_news(7, True, 10 * MSEC + 20_000)
    assert inputs.is_news(7, False, 10 * MSEC + 20_000)
    assert inputs.is_news(7, True, 11 * MSEC)  # the edge between was lost, this one was not


def test_a_line_without_an_answer_is_overdue_with_the_edges_that_have_no_use():
    inputs = ChipInputs()
    inputs.expect(7)
    inputs.expect(7)
    assert inputs.overdue(0, 1000 * MSEC) == {}
    for time_ns in (1, 2):
        assert not inputs.is_news(7, True, time_ns)
    assert inputs.overdue(999 * MSEC, 1000 * MSEC) == {}
    assert inputs.overdue(1000 * MSEC, 1000 * MSEC) == {7: 2}
    assert inputs.overdue(1500 * MSEC, 1000 * MSEC) == {}  # the order was sent again
    assert not inputs.is_news(7, True, 1550 * MSEC)
    assert inputs.answered(7, False, 1600 * MSEC)  # one order, whatever was lost before
    assert inputs.missed == 1
    assert inputs.overdue(9000 * MSEC, 1000 * MSEC) == {}
    assert inputs.is_news(7, True, 1700 * MSEC)


def test_a_removed_line_has_no_readings_and_no_kept_level():
    inputs = ChipInputs()
    inputs.expect(7)
    inputs.answered(7, True, 0)
    inputs.keep(7, True)
    inputs.keep(4, False)
    inputs.forget(7)
    assert not inputs.is_news(7, False, MSEC)
    assert inputs.take_kept() == [(4, False)]
    assert inputs.take_kept() == []


# -- pulses ------------------------------------------------------------------------------------


def test_an_end_ends_what_flowed_together_and_not_what_came_after_it():
    pulses = ChipPulses()
    pulses.begin(8, 5000, 0, 10 * MSEC)
    pulses.begin(8, 5000, 0, 12 * MSEC)
    pulses.begin(8, 5000, 0, 17 * MSEC)  # sent before the report came
    ended = pulses.ended(8, 10 * MSEC, 17 * MSEC, complete=True)
    assert [pulse.start_sent_ns for pulse in ended] == [10 * MSEC, 12 * MSEC]
    assert {(p.first_edge_ns, p.last_edge_ns, p.timed_by) for p in ended} == {
        (10 * MSEC, 17 * MSEC, "chip")
    }
    assert pulses.lines == [8]
    (last,) = pulses.ended(8, 17 * MSEC, 22 * MSEC, complete=True)
    assert last.start_sent_ns == 17 * MSEC
    assert pulses.lines == []


def test_a_stopped_end_ends_what_was_cut_and_not_the_next_pulse():
    pulses = ChipPulses()
    pulses.begin(8, 60_000_000, 0, 10 * MSEC)
    pulses.cut(8)
    assert pulses.lines == []
    pulses.begin(8, 5000, 0, 11 * MSEC)
    (stopped,) = pulses.ended(8, 10 * MSEC, 11 * MSEC, complete=False)
    assert stopped.start_sent_ns == 10 * MSEC
    assert pulses.lines == [8]


def test_an_end_ends_one_command_even_when_the_clocks_disagree():
    pulses = ChipPulses()
    pulses.begin(8, 5000, 0, 10 * MSEC)
    assert len(pulses.ended(8, 2 * MSEC, 7 * MSEC, complete=True)) == 1
    assert pulses.ended(8, 2 * MSEC, 7 * MSEC, complete=True) == []


@pytest.mark.parametrize("is_noisy", [False, True])
def test_a_command_whose_report_was_lost_does_not_get_the_times_of_the_next_pulse(is_noisy):
    noise = [3]
    pulses = ChipPulses(lambda: noise[0])
    pulses.begin(8, 2000, 0, 10 * MSEC)
    noise[0] += is_noisy
    pulses.begin(8, 2000, 0, 50 * MSEC)
    pulses.begin(8, 2000, 0, 51 * MSEC)  # flows together with the one before it
    ended = pulses.ended(8, 50 * MSEC, 53 * MSEC, complete=True)
    assert [pulse.start_sent_ns for pulse in ended] == [10 * MSEC, 50 * MSEC, 51 * MSEC]
    # Without noise it was one late pulse: the line has held back the first command.
    first = (0, 0) if is_noisy else (50 * MSEC, 53 * MSEC)
    times = [(pulse.first_edge_ns, pulse.last_edge_ns) for pulse in ended]
    assert times == [first, (50 * MSEC, 53 * MSEC), (50 * MSEC, 53 * MSEC)]
    assert pulses.lines == []


def test_what_has_no_end_is_given_up_without_one():
    pulses = ChipPulses()
    pulses.begin(8, 5000, 1, 10 * MSEC)
    (left,) = pulses.give_up()
    assert (left.first_edge_ns, left.last_edge_ns, left.end_sent_ns) == (0, 0, 0)
    assert pulses.give_up() == []


# -- analog ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "interval_usec", "baud_rate", "scans"),
    [
        (1, 19_000, 57_600, 1),  # a block for each scan: samples come at once
        (1, 1000, 57_600, 12),  # the line carries 2.9 bytes of blocks a scan
        (6, 10_000, 57_600, 1),
        (6, 2000, 57_600, 4),  # as large as blocks become
        (6, 2000, 1_000_000, 1),
    ],
)
def test_blocks_are_as_small_as_the_line_allows(channels, interval_usec, baud_rate, scans):
    assert scans_per_block(channels, interval_usec, baud_rate) == scans


def test_samples_have_times_and_those_before_the_fence_are_dropped():
    analog = ChipAnalog()
    analog.add(0, 14)
    analog.add(3, 17)
    analog.order(2000, 57_600, 2_000_000)
    block = AnalogBlock(5, 1000, (10, 20, 11, 21))
    assert list(analog.samples(block)) == []
    analog.pass_fence()
    assert list(analog.samples(block)) == [
        (0, 10, 1000),
        (3, 20, 1232),
        (0, 11, 5000),
        (3, 21, 5232),
    ]
    for number in (
        5,
        6,
        9,
        10,
    ):  # without check values a gap counts when the next block confirms it
        analog.count(AnalogBlock(number, 0, ()))
    assert analog.missing_scans == 2 * scans_per_block(2, 2000, 57_600)


def test_without_channels_the_sampling_ends():
    analog = ChipAnalog()
    analog.add(0, 14)
    analog.order(2000, 57_600, 2_000_000)
    assert analog.remove(0)
    assert not analog.remove(0)
    assert analog.order(2000, 57_600, 2_000_000)[:3] == b"\xf0\x05\x01"
    analog.pass_fence()
    assert list(analog.samples(AnalogBlock(0, 0, (1,)))) == []


# -- pace --------------------------------------------------------------------------------------


def test_single_commands_never_wait_and_bursts_wait_for_the_boards_buffer():
    pace = Pace(100 + SPARE_BYTES, 25)
    for now_ns in range(0, 100 * MSEC, MSEC):  # 3 bytes a millisecond
        assert pace.send_at(b"abc", now_ns) == now_ns
    now_ns = 100 * MSEC
    parts = list(pace.split(bytes(450)))
    assert [len(part) for part in parts] == [100, 100, 100, 100, 50]
    times = [pace.send_at(part, now_ns) for part in parts]
    assert times[0] == now_ns
    assert times[-1] - now_ns == 350 * MSEC // 25
    last = times[-1]
    for _ in range(5):  # small commands behind a burst do not overtake it
        assert pace.send_at(b"abc", now_ns) > last
        last += 3 * MSEC // 25


def test_what_is_sent_to_a_busy_board_waits_for_room_in_its_buffer():
    pace = Pace(100 + SPARE_BYTES, 25)  # 40 µs a byte
    assert pace.at_once(bytes(50), 0)
    pace.occupy(3_000_000, 0)
    assert not pace.at_once(bytes(50), 0)
    assert pace.send_at(bytes(50), 0) == 3_000_000


def test_what_may_be_sent_at_once_counts_as_the_same_bytes_at_their_time():
    whole, parts = Pace(100 + SPARE_BYTES, 25), Pace(100 + SPARE_BYTES, 25)
    now_ns = 5_000_000
    for _ in range(40):
        may = whole.at_once(b"abc", now_ns)
        assert may == (parts.send_at(b"abc", now_ns) == now_ns)
        if not may:
            break
    assert not may
    later_ns = now_ns + 1_000_000
    assert whole.at_once(b"abc", later_ns)
    assert not Pace(100 + SPARE_BYTES, 25).at_once(bytes(101), now_ns)


# -- numbers of blocks -------------------------------------------------------------------------


def test_with_check_values_each_gap_counts_at_once_also_by_the_number_of_the_next_block():
    numbers = BlockNumbers(2)
    assert [numbers.take(number) for number in (16_382, 16_383, 0, 3)] == [0, 0, 0, 2]
    assert numbers.expect(4) == 0
    assert numbers.expect(6) == 2  # the last ones, which no block follows
    assert numbers.take(6) == 0


def test_a_status_before_the_first_block_has_its_number():
    numbers = BlockNumbers(2)
    assert numbers.expect(7) == 0
    assert numbers.take(8) == 1


@pytest.mark.parametrize("first", [5, 4, 69, 7])
def test_without_check_values_a_wrong_first_number_is_no_great_loss(first):
    numbers = BlockNumbers(1)
    assert sum(numbers.take(number) for number in (first, 6, 7, 8)) <= 1


def test_a_gap_that_nothing_confirms_counts_after_a_while_unless_it_is_too_large():
    for number, missing in ((12, 2), (12 ^ 0x40, 0)):
        numbers = BlockNumbers(1)
        assert [numbers.take(each) for each in (8, 9, number)] == [0, 0, 0]
        assert [numbers.settle() for _ in range(3)] == [0, missing, 0]
        assert numbers.take(number + 1) == 0


def test_a_count_with_check_values_counts_at_once_and_wraps():
    count = BoardCount()
    totals = (65_530, 65_530, 4, 4, 3, 8)  # 3: of a message that was made before the one with 4
    assert [count.take(total, checked=True) for total in totals] == [0, 0, 10, 0, 0, 5]
