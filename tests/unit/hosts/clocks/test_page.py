"""A host's clock: it follows the controller's, never goes back, and all readers agree."""

import mmap
import os
import random

import pytest

import mlink.steered_clock
from mlink.clock import MasterClock
from mlink.errors import ControlError
from mlink.hosts.clocks.estimate import ClockEstimate
from mlink.hosts.clocks.page import ClockPage
from mlink.steered_clock import PAGE_BYTES, ClockState, SteeredClock
from tests.support.hosts.led_host import LedHost
from tests.support.hosts.link_model import S


@pytest.fixture
def host():
    made = LedHost()
    yield made
    made.page.close()


def test_before_the_start_of_the_run_master_time_is_0_and_its_error_is_known(host):
    assert host.clock.now_usec() == 0
    assert host.clock.from_monotonic_ns(host.link.host_ns) == 0
    assert host.clock.state is ClockState.WAITING
    assert 0 < host.clock.uncertainty_usec() < 2000
    page = ClockPage(ClockEstimate())
    assert SteeredClock(page.fd).uncertainty_usec() == -1
    page.close()


@pytest.mark.parametrize("ppm", [0, 100, -100])
def test_it_follows_the_controllers_clock_within_what_it_states(ppm):
    host = LedHost(ppm=ppm, wander_ppm=0.05, jitter_ns=20_000)
    host.begin()
    errors = []
    for _ in range(2000):
        host.step()
        error = abs(host.error_usec())
        assert error <= host.clock.uncertainty_usec(host.link.host_ns)
        errors.append(error)
    assert sorted(errors[200:])[len(errors) // 2] < 5
    host.page.close()


def test_it_never_goes_back_and_never_jumps(host):
    host.begin()
    rng = random.Random(3)
    last_ns, last_usec = host.link.host_ns, host.clock.from_monotonic_ns(host.link.host_ns)
    for _ in range(3000):
        if rng.random() < 0.01:
            host.link.delay_ns = rng.choice([50_000, 5_000_000])
        host.step(rng.randrange(1, S // 4))
        now_ns = host.link.host_ns
        now_usec = host.clock.from_monotonic_ns(now_ns)
        elapsed_usec = (now_ns - last_ns) / 1000
        assert now_usec >= last_usec
        assert now_usec - last_usec == pytest.approx(elapsed_usec, rel=0.02, abs=2)
        last_ns, last_usec = now_ns, now_usec


def test_a_reading_has_one_time_whenever_it_is_converted(host):
    host.link.ppm = 80
    host.begin()
    readings = {}
    for _ in range(400):  # 50 s: the page has the last minute
        host.step()
        reading = host.link.host_ns
        readings[reading] = host.clock.from_monotonic_ns(reading)
    late = SteeredClock(host.page.fd)  # a process that starts later has the same
    assert [late.from_monotonic_ns(reading) for reading in readings] == list(readings.values())


def test_now_is_the_time_of_the_present_reading(host, monkeypatch):
    monkeypatch.setattr(mlink.steered_clock, "monotonic_ns", lambda: host.link.host_ns)
    host.begin()
    for _ in range(200):
        host.step()
        assert host.clock.now_usec() == host.clock.from_monotonic_ns(host.link.host_ns)
    assert host.clock.state is ClockState.FOLLOWING


@pytest.mark.parametrize("change_ppm", [0, 50, -400])
def test_without_exchanges_the_rate_goes_on_and_the_uncertainty_grows(
    host, monkeypatch, change_ppm
):
    monkeypatch.setattr(mlink.steered_clock, "monotonic_ns", lambda: host.link.host_ns)
    host.begin()
    host.link.ppm += change_ppm  # as NTP does when it slews
    for _ in range(400):
        host.step()
    before_usec = host.clock.uncertainty_usec()
    host.exchanging = False
    for _ in range(8 * 60):
        host.step()
        assert abs(host.error_usec()) <= host.clock.uncertainty_usec()
    assert host.clock.state is ClockState.HOLDING
    assert host.clock.uncertainty_usec() > before_usec + 30
    host.exchanging = True
    for _ in range(80):
        host.step()
    assert host.clock.uncertainty_usec() == pytest.approx(before_usec, abs=10)


def test_a_writer_that_has_ended_leaves_a_clock_that_grows_uncertain(host, monkeypatch):
    host.begin()
    for _ in range(100):
        host.step()
    monkeypatch.setattr(mlink.steered_clock, "monotonic_ns", lambda: host.link.host_ns)
    before_usec = host.clock.uncertainty_usec()
    host.link.advance(60 * S)
    assert host.clock.now_usec() == pytest.approx(host.truth_usec(), abs=1000)
    assert host.clock.uncertainty_usec() > before_usec
    assert host.clock.state is ClockState.HOLDING


@pytest.mark.parametrize("jump_s", [-3, -0.02, 0.02, 3])
def test_a_step_of_the_hosts_clock_is_found_counted_and_made_up_for(jump_s):
    host = LedHost()
    host.begin()
    for _ in range(100):
        host.step()
    host.link.jump(round(jump_s * S))
    last_usec = 0
    for _ in range(8 * 20):
        host.step()
        now_usec = host.clock.from_monotonic_ns(host.link.host_ns)
        assert now_usec >= last_usec
        last_usec = now_usec
    assert host.estimate.step_count == 1
    assert host.estimate.steps[0].size_ns == pytest.approx(-jump_s * S, abs=1e6)
    assert abs(host.error_usec()) <= 50
    assert host.page.forward_ns == pytest.approx(max(0, -jump_s * S), abs=1e6)
    host.page.close()


def test_a_clock_that_has_stepped_says_so_for_a_time(host, monkeypatch):
    monkeypatch.setattr(mlink.steered_clock, "monotonic_ns", lambda: host.link.host_ns)
    host.begin()
    host.link.jump(-S)
    for _ in range(24):
        host.step()
    assert host.clock.state is ClockState.STEPPED
    for _ in range(100):
        host.step()
    assert host.clock.state is ClockState.FOLLOWING


def test_master_times_and_readings_convert_both_ways():
    host = LedHost(ppm=30)
    host.begin()
    for _ in range(40):
        host.step()
    reading_ns = host.page.to_local_ns(5_000_000)
    assert host.clock.from_monotonic_ns(reading_ns) == 5_000_000
    assert host.clock.from_monotonic_ns(reading_ns - 1) == 4_999_999
    host.page.close()


def test_readers_cannot_write_and_what_is_no_page_is_refused(host):
    with pytest.raises(PermissionError):
        mmap.mmap(host.page.fd, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    fd = os.memfd_create("other")
    for size, why in ((10, "10 bytes"), (PAGE_BYTES, "another version")):
        os.ftruncate(fd, size)
        with pytest.raises(ControlError, match=why):
            SteeredClock(fd)
    os.close(fd)


def test_a_damaged_page_is_an_error_and_no_wrong_time(host):
    host.begin()
    words = host.page._words
    words[8 + 1] += 1
    with pytest.raises(ControlError, match="damaged"):
        host.clock.from_monotonic_ns(host.link.host_ns)


def test_a_clock_begins_once_and_not_before_an_exchange():
    page = ClockPage(ClockEstimate())
    with pytest.raises(ControlError, match="no exchange"):
        page.begin(0, 0)
    page.close()
    host = LedHost()
    host.begin()
    with pytest.raises(ControlError, match="before"):
        host.begin()
    host.page.close()


def test_a_steered_clock_agrees_with_the_master_clock_where_both_are_one_clock():
    host = LedHost(ppm=0, jitter_ns=0, offset_ns=0)
    host.begin()
    master = MasterClock(host.page.to_local_ns(0))
    for _ in range(40):
        host.step()
        reading = host.link.host_ns
        assert abs(host.clock.from_monotonic_ns(reading) - master.from_monotonic_ns(reading)) <= 2


def test_a_writer_that_was_late_changes_no_time_that_was_given(host):
    host.link.ppm = 200
    host.begin()
    for _ in range(40):
        host.step()
    given = {}
    for _ in range(40):  # the writer's process is stopped for 5 s
        host.link.advance(S // 8)
        reading = host.link.host_ns
        given[reading] = host.clock.from_monotonic_ns(reading)
    for _ in range(40):
        host.step()
        reading = host.link.host_ns
        given[reading] = host.clock.from_monotonic_ns(reading)
    assert list(given.values()) == sorted(given.values())
    late = SteeredClock(host.page.fd)
    assert [late.from_monotonic_ns(reading) for reading in given] == list(given.values())
    assert abs(host.error_usec()) <= host.clock.uncertainty_usec(host.link.host_ns)


def test_another_process_never_reads_half_a_piece(host):
    host.begin()
    begin_ns = host.link.host_ns
    pid = os.fork()
    if pid == 0:  # 50,000 pieces, one right after the other: the page goes round 195 times
        for number in range(50_000):
            host.page.steer(begin_ns + number * S // 4)
        os._exit(0)
    last_usec = 0
    is_over = False
    while not is_over:
        is_over = os.waitpid(pid, os.WNOHANG) != (0, 0)
        segment = host.clock.segment_at(1 << 60)
        assert segment is not None
        # half a piece would have the line of one and the start of another
        usec = segment.usec(segment.start_ns)
        assert usec >= last_usec
        assert usec == pytest.approx((segment.start_ns - begin_ns) / 1000, abs=1e4, rel=1e-2)
        last_usec = usec
