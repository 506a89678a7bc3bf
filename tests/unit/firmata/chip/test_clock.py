"""The board's clock on the host's: exchanges, steps, and ticks that wrap."""

from __future__ import annotations

from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.messages import ClockAnswer

MSEC = 1_000_000  # ns


class Exchanges:
    """A chip at 2 MHz, true to the host but for `step_usec`; each way takes `way_usec`."""

    def __init__(self):
        self.clock = ChipClock(2_000_000, 10_000)
        self.now_ns = 10**12
        self.step_usec = 0.0

    def run(self, count, way_usec=(150, 150), pause_msec=250):
        for _ in range(count):
            self.now_ns += pause_msec * MSEC
            query = self.clock.query(self.now_ns)
            there, back = way_usec
            received = self.now_ns / 1000 + 4 * 10 + there + self.step_usec
            ticks = round(received * 2) % (1 << 32)
            answer = ClockAnswer(query[2], True, ticks, (ticks + 20) % (1 << 32))
            arrival_ns = self.now_ns + round((40 + there + 10 + back) * 1000)
            assert self.clock.take(answer, arrival_ns)

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


def test_a_step_of_the_chips_clock_is_followed_at_once():
    exchanges = Exchanges()
    exchanges.run(40)
    exchanges.step_usec = -50_000.0  # the chip stood still
    for _ in range(2):
        exchanges.run(1)
        assert abs(exchanges.error_usec()) < 100
        assert abs(exchanges.clock.rate_ppm) < 20
    assert exchanges.clock.unanswered == 0
