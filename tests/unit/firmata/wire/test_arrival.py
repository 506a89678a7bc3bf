"""When a message's first byte began on the wire: arrival less wire time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlink_drivers.firmata.wire.arrival import (
    ArrivalTimes,
    estimate_uncertainty_usec,
    wire_time_ns,
)

BAUD = 10_000  # a byte takes 1 ms
MS = 1_000_000


def test_a_byte_is_ten_bits_long():
    assert wire_time_ns(1, 57600) == 173_611
    assert wire_time_ns(3, BAUD) == 3 * MS


def test_a_message_began_its_own_wire_time_before_the_read():
    times = ArrivalTimes(BAUD)
    times.note_burst(100 * MS, 3)
    assert times.first_byte_ns(0) == 97 * MS


def test_messages_of_one_burst_came_back_to_back():
    times = ArrivalTimes(BAUD)
    times.note_burst(100 * MS, 9)
    assert [times.first_byte_ns(offset) for offset in (0, 3, 6)] == [91 * MS, 94 * MS, 97 * MS]


def test_no_byte_came_before_the_previous_read():
    times = ArrivalTimes(BAUD)
    times.note_burst(100 * MS, 3)
    times.note_burst(102 * MS, 6)
    assert times.first_byte_ns(0) == 100 * MS
    assert times.first_byte_ns(5) == 101 * MS


def test_a_split_message_has_the_time_of_the_burst_that_brought_its_first_byte():
    times = ArrivalTimes(BAUD)
    times.note_burst(100 * MS, 4)  # a whole message and one byte of the next
    times.note_burst(150 * MS, 1)
    times.note_burst(200 * MS, 1)
    assert times.first_byte_ns(-2) == 99 * MS
    assert times.first_byte_ns(-1) == 149 * MS


def test_a_message_older_than_all_that_is_kept_gets_the_oldest_time_known():
    times = ArrivalTimes(BAUD)
    for burst in range(200):
        times.note_burst((burst + 1) * MS, 1)
    assert times.first_byte_ns(-150) <= 137 * MS


@given(st.lists(st.tuples(st.integers(0, 20 * MS), st.integers(1, 12)), min_size=1, max_size=20))
def test_times_never_go_back_and_are_never_later_than_the_read(bursts):
    times = ArrivalTimes(BAUD)
    now_ns = 1000 * MS
    last_ns = 0
    for pause_ns, count in bursts:
        now_ns += pause_ns
        times.note_burst(now_ns, count)
        for offset in range(count):
            time_ns = times.first_byte_ns(offset)
            assert last_ns <= time_ns <= now_ns
            last_ns = time_ns


def test_uncertainty_is_a_byte_a_firmware_loop_and_the_adapter():
    assert estimate_uncertainty_usec(57600, 0) == 1173
    assert estimate_uncertainty_usec(57600, 16_000) == 17_173
