"""A host and the controller on one machine, whose clocks differ by a known number."""

import time

import pytest

from mlink.errors import ControlError, HostError
from mlink.hosts.clocks.host_clock import HostClock
from mlink.hosts.clocks.server import ClockServer
from mlink.hosts.clocks.wire import ClockSocket, Kind, Packet, Signer
from mlink.steered_clock import SteeredClock

KEY = bytes(range(32))
LIMIT_S = 30.0
AHEAD_NS = 777_000_000_000


class Skewed:
    """A clock of a host in a room that is not this one."""

    def __init__(self, ppm=100.0):
        self.began_ns = time.monotonic_ns()
        self.ahead_ns = AHEAD_NS
        self.ppm = ppm

    def __call__(self):
        return self.of(time.monotonic_ns())

    def of(self, true_ns):
        since_ns = true_ns - self.began_ns
        return self.began_ns + self.ahead_ns + since_ns + round(since_ns * self.ppm * 1e-6)


@pytest.fixture
def server():
    with ClockServer() as made:
        yield made


@pytest.fixture
def clock():
    return Skewed()


@pytest.fixture
def host(server, clock):
    with HostClock(KEY, now_ns=clock) as made:
        made.start()
        server.add("chamber", "127.0.0.1", made.port, KEY)
        yield made


def wait_for(done, limit_s=LIMIT_S):
    end_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end_s, "not in time"
        time.sleep(0.01)


def test_the_controllers_time_is_known_within_what_is_stated(host, clock):
    assert host.wait_known(LIMIT_S)
    origin_ns = time.monotonic_ns()
    host.begin(origin_ns)
    workers = SteeredClock(host.page_fd)
    for _ in range(100):
        time.sleep(0.002)
        true_ns = time.monotonic_ns()
        reading_ns = clock.of(true_ns)
        error_usec = abs(workers.from_monotonic_ns(reading_ns) - (true_ns - origin_ns) / 1000)
        assert error_usec <= workers.uncertainty_usec(reading_ns) + 1
    figures = host.figures()
    assert figures["clock_state"] == "following"
    assert figures["clock_offset_usec"] == pytest.approx(-AHEAD_NS / 1000, abs=1e6)
    assert figures["clock_exchanges"] >= 50
    assert figures["clock_steps"] == 0


def test_without_a_controller_nothing_is_known_and_the_start_is_refused(clock):
    with HostClock(KEY, now_ns=clock) as host:
        host.start()
        assert not host.wait_known(0.05)
        with pytest.raises(HostError, match=f"port {host.port}"):
            host.begin(0)
        assert host.figures()["clock_state"] == "waiting"
        assert host.figures()["clock_uncertainty_usec"] == -1


def test_a_stranger_has_no_influence(clock):
    with (
        HostClock(KEY, now_ns=clock) as host,
        ClockSocket(peer=("127.0.0.1", host.port)) as stranger,
    ):
        for data in (b"", b"x" * 2000, Signer(bytes(32)).pack(Packet(Kind.HERE, 1 << 60))):
            stranger.send(data)
        for _ in range(10):
            host.serve()
        assert host.figures()["clock_packets_refused"] == 3
        assert stranger.receive() is None  # it was not asked


def test_answers_that_come_twice_or_to_no_question_are_refused(clock):
    signer = Signer(KEY)
    with (
        HostClock(KEY, now_ns=clock) as host,
        ClockSocket(peer=("127.0.0.1", host.port)) as controller,
    ):
        controller.send(signer.pack(Packet(Kind.HERE, 1)))
        host.serve()
        asked = controller.receive()
        assert asked is not None
        number = signer.read(asked.data).number
        now_ns = time.monotonic_ns()
        answer = signer.pack(Packet(Kind.ANSWER, number, now_ns, now_ns))
        for data in (answer, answer, signer.pack(Packet(Kind.ANSWER, 99, now_ns, now_ns))):
            controller.send(data)
        host.serve()
        assert host.figures()["clock_exchanges"] == 1
        assert host.figures()["clock_packets_refused"] == 2


def test_an_older_place_of_the_controller_is_not_taken_again(clock):
    signer = Signer(KEY)
    with (
        HostClock(KEY, now_ns=clock) as host,
        ClockSocket(peer=("127.0.0.1", host.port)) as controller,
        ClockSocket(peer=("127.0.0.1", host.port)) as replayer,
    ):
        controller.send(signer.pack(Packet(Kind.HERE, 5)))
        replayer.send(signer.pack(Packet(Kind.HERE, 5)))
        host.serve()
        assert controller.receive() is not None
        assert replayer.receive() is None


def test_a_jump_of_the_hosts_clock_is_reported(host, clock, caplog):
    assert host.wait_known(LIMIT_S)
    host.begin(time.monotonic_ns())
    clock.ahead_ns += 2_000_000_000  # the controller was suspended for 2 s
    wait_for(lambda: host.figures()["clock_steps"] == 1)
    assert host.estimate.steps[0].size_ns == pytest.approx(-2e9, abs=5e7)
    wait_for(lambda: "have jumped by -" in caplog.text)


def test_exchanges_that_stop_are_reported_and_the_clock_goes_on(host, server, caplog):
    assert host.wait_known(LIMIT_S)
    host.begin(time.monotonic_ns())
    server.remove("chamber")
    wait_for(lambda: host.figures()["clock_state"] == "holding")
    before_usec = host.figures()["clock_uncertainty_usec"]
    wait_for(lambda: host.figures()["clock_uncertainty_usec"] > before_usec)
    wait_for(lambda: "has not answered" in caplog.text)
    server.add("chamber", "127.0.0.1", host.port, KEY)
    wait_for(lambda: host.figures()["clock_state"] == "following")
    wait_for(lambda: "answers again" in caplog.text)
    assert host.figures()["clock_exchanges_lost"] > 0


def test_the_system_clocks_are_a_check_where_both_are_synchronised(host, monkeypatch):
    for module in ("server", "host_clock"):
        monkeypatch.setattr(f"mlink.hosts.clocks.{module}.clock_error_usec", lambda: 500.0)
    wait_for(lambda: "system_clocks_differ_usec" in host.figures())
    figures = host.figures()
    assert figures["system_clocks_error_usec"] == pytest.approx(1000)
    # the injected clock is no system clock: the check sees by how much it is wrong
    assert figures["system_clocks_differ_usec"] == pytest.approx(AHEAD_NS / 1000, rel=0.01)


def test_without_synchronised_system_clocks_there_is_no_check(host, monkeypatch):
    monkeypatch.setattr("mlink.hosts.clocks.host_clock.clock_error_usec", lambda: None)
    assert host.wait_known(LIMIT_S)
    assert "system_clocks_differ_usec" not in host.figures()


def test_all_hosts_have_one_zero_of_master_time(server):
    hosts = [HostClock(KEY) for _ in range(2)]
    for number, each in enumerate(hosts):
        each.start()
        server.add(f"h{number}", "127.0.0.1", each.port, KEY)
    assert all(each.wait_known(LIMIT_S) for each in hosts)
    origin_ns = time.monotonic_ns() + 100_000_000  # in the future: no host has to be quick
    for each in hosts:
        each.begin(origin_ns)
        # one machine, one clock: by as much as they differ from it, the hosts differ
        stated_ns = 1000 * each.figures()["clock_uncertainty_usec"]
        assert abs(each.to_local_ns(0) - origin_ns) <= stated_ns + 1000
        each.close()


def test_master_time_begins_once(host):
    assert host.wait_known(LIMIT_S)
    with pytest.raises(ControlError, match="not begun"):
        host.to_local_ns(0)
    host.begin(time.monotonic_ns())
    with pytest.raises(ControlError, match="before"):
        host.begin(time.monotonic_ns())
