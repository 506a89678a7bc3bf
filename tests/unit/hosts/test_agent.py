"""An agent without runs: what it says of itself, its lease, and why a host is not there."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.errors import HostError
from mlink.hosts.link.about import About, AskAbout, ClockReading, ReadClock
from mlink.hosts.link.access import credentials
from mlink.hosts.link.agent import Agent, open_agent_session
from mlink.hosts.link.calls import Calls
from mlink.hosts.link.controller import Controller, discover
from mlink.hosts.link.keyring import Keyring
from mlink.hosts.link.lease import Lease, LeaseKeeper, ReleaseHost, TakeHost, hold_lease
from mlink.hosts.link.session import HostSession
from mlink.hosts.link.settings import AgentSettings
from tests.support.hosts_lab import first_host, free_port, member, unread_member

RUN, OTHER = "12ab34cd", "99999999"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return first_host(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def agent(desk: Keyring, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    keys = member(desk, tmp_path_factory.mktemp("chamber"), "chamber")
    settings = AgentSettings(
        listen=(f"tls/127.0.0.1:{port}",), recordings=str(keys.folder / "not" / "yet")
    )
    host, session = open_agent_session(keys.folder, settings)
    with session, Agent(host, settings, session) as agent:
        yield agent


@pytest.fixture(scope="module")
def controller(desk: Keyring, port: int, agent: Agent) -> Iterator[Controller]:
    with Controller({"chamber": f"tls/127.0.0.1:{port}"}, desk.folder) as controller:
        controller.await_hosts(10)
        yield controller


def test_an_agent_says_what_it_is(controller: Controller) -> None:
    about = Calls(controller).ask("chamber", AskAbout(), About, 30)
    assert about.host == "chamber"
    assert about.disk_free_bytes > 0
    assert "camera-generic" in about.modules
    assert "virtual:uno" in [device.address for device in about.devices]
    assert about.lease == Lease()


def test_an_agent_reads_its_clocks(controller: Controller) -> None:
    first = Calls(controller).ask("chamber", ReadClock(), ClockReading, 10)
    second = Calls(controller).ask("chamber", ReadClock(), ClockReading, 10)
    assert second.monotonic_ns > first.monotonic_ns


def test_a_second_controller_is_told_who_has_the_host(controller: Controller) -> None:
    calls = Calls(controller)
    calls.ask("chamber", TakeHost(RUN, "ada at desk", 60), Lease, 10)
    with pytest.raises(HostError, match="host chamber: the host is taken by ada at desk") as caught:
        calls.ask("chamber", TakeHost(OTHER, "bob at office", 60), Lease, 10)
    assert "mlink hosts --release" in caught.value.remedy
    assert calls.ask("chamber", ReleaseHost(OTHER), Lease, 10).run == ""
    assert calls.ask("chamber", AskAbout(devices=False), About, 10).lease.owner == "ada at desk"
    assert calls.ask("chamber", ReleaseHost(RUN), Lease, 10).owner == "ada at desk"
    calls.ask("chamber", TakeHost(OTHER, "bob at office", 60), Lease, 10)
    assert calls.ask("chamber", ReleaseHost(by="ada"), Lease, 10).run == OTHER


@pytest.mark.parametrize("run", ["", "a/b", "*", "x" * 40, "12AB34CD"])
def test_a_run_id_that_is_none_is_refused(controller: Controller, run: str) -> None:
    with pytest.raises(HostError, match="a request cannot be read"):
        Calls(controller).ask("chamber", TakeHost(run, "ada", 60), Lease, 10)


class _Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def endpoint() -> str:
    return f"tcp/127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def host(endpoint: str) -> Iterator[HostSession]:
    with HostSession(listen=[endpoint]) as session:
        yield session


@pytest.fixture(scope="module")
def leader(endpoint: str, host: HostSession) -> Iterator[HostSession]:
    with HostSession(connect=[endpoint]) as session:
        yield session


def _until(what: str, keeper: LeaseKeeper, session: HostSession, clock: _Clock) -> None:
    for _ in range(1000):
        clock.now_s += 1e-6
        if (keeper.now().away_s == 0) == (what == "there"):
            return
        session.presence.wait_for_change(0.01)
    raise AssertionError(f"the controller is not {what}")


def test_a_lease_lasts_while_its_controller_is_there_and_its_time_afterwards(
    host: HostSession, leader: HostSession
) -> None:
    clock, ended = _Clock(), []
    with LeaseKeeper(host, lambda lease, why: ended.append((lease.run, why)), clock) as keeper:
        token = hold_lease(leader, RUN)
        keeper.take(TakeHost(RUN, "ada", keep_s=20))
        _until("there", keeper, host, clock)
        clock.now_s += 1000
        keeper.look()
        assert keeper.now().run == RUN
        token.undeclare()
        _until("away", keeper, host, clock)
        clock.now_s += 19
        keeper.look()
        assert keeper.now().run == RUN
        clock.now_s += 2
        keeper.look()
        assert ended == [(RUN, "its controller has given no sign for 21 s")]
        assert keeper.now() == Lease()


def test_a_controller_that_comes_back_keeps_its_lease(
    host: HostSession, leader: HostSession
) -> None:
    clock = _Clock()
    with LeaseKeeper(host, clock_s=clock) as keeper:
        keeper.take(TakeHost(RUN, "ada", keep_s=20))
        clock.now_s += 15
        assert keeper.now().away_s == 15
        token = hold_lease(leader, RUN)
        _until("there", keeper, host, clock)
        clock.now_s += 15
        keeper.look()
        keeper.check(RUN)
        with pytest.raises(HostError, match=f"run {OTHER} has not taken this host; ada has"):
            keeper.check(OTHER)
        token.undeclare()


def test_a_host_that_was_released_ends_its_run(host: HostSession) -> None:
    ended: list[str] = []
    with LeaseKeeper(host, lambda _lease, why: ended.append(why)) as keeper:
        keeper.take(TakeHost(RUN, "ada"))
        keeper.release(ReleaseHost(RUN))
        assert ended == []  # its own run has ended
        keeper.take(TakeHost(OTHER, "bob"))
        keeper.release(ReleaseHost(by="ada at desk"))
        assert ended == ["released by ada at desk"]


def test_controllers_that_follow_each_other_at_once_see_the_host(
    controller: Controller, desk: Keyring, port: int
) -> None:
    """Zenoh's routers leave out who comes within 100 ms after another has gone."""
    for _ in range(4):
        with Controller({"chamber": f"tls/127.0.0.1:{port}"}, desk.folder) as next_one:
            next_one.await_hosts(5)


def test_a_session_that_is_not_seen_is_opened_again(
    controller: Controller, desk: Keyring, port: int
) -> None:
    left = Controller({"chamber": f"tls/127.0.0.1:{port}"}, desk.folder)
    for _ in range(4):
        left.zenoh.close()  # without the pause
        left.close()
        left = Controller({"chamber": f"tls/127.0.0.1:{port}"}, desk.folder)
        left.await_hosts(5)
    left.close()


def _why(controller: Controller) -> str:
    with controller, pytest.raises(HostError) as caught:
        controller.await_hosts(0.4)
    assert caught.value.remedy
    return caught.value.message


def test_nobody_at_the_address(desk: Keyring) -> None:
    where = f"tls/127.0.0.1:{free_port()}"
    assert _why(Controller({"attic": where}, desk.folder)).endswith("nobody listens there")


def test_another_host_at_the_address(desk: Keyring, port: int, agent: Agent) -> None:
    why = _why(Controller({"attic": f"tls/127.0.0.1:{port}"}, desk.folder))
    assert why == f"host attic at tls/127.0.0.1:{port}: there is chamber"


def test_another_program_at_the_address(desk: Keyring) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"tls/127.0.0.1:{server.getsockname()[1]}"
        why = _why(Controller({"attic": where}, desk.folder))
    assert "no answer" in why or "no protected connection" in why


def test_a_host_of_another_lab(desk: Keyring, tmp_path: Path) -> None:
    other = first_host(tmp_path, lab="Optics", host="attic")
    settings = AgentSettings(listen=(f"tls/127.0.0.1:{free_port()}",))
    with open_agent_session(other.folder, settings)[1]:
        why = _why(Controller({"attic": settings.listen[0]}, desk.folder))
    assert "it is not of the lab Neuro 3" in why


def test_a_host_whose_certificate_has_expired(
    desk: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=731)
        earlier.setattr("mlink.hosts.link.certificates.utc_now", lambda: at)
        old = unread_member(desk, tmp_path, "attic")
    settings = AgentSettings(listen=(f"tls/127.0.0.1:{free_port()}",))
    with HostSession(listen=settings.listen, credentials=credentials(old)):
        why = _why(Controller({"attic": settings.listen[0]}, desk.folder))
    assert "its certificate has expired" in why


def test_an_agent_may_not_lead(desk: Keyring, tmp_path: Path) -> None:
    keys = member(desk, tmp_path, "pi")
    with pytest.raises(HostError, match="only controllers start runs") as caught:
        Controller({"chamber": "tls/127.0.0.1:1"}, keys.folder)
    assert "--controller" in caught.value.remedy


def test_a_host_without_address_is_looked_up_in_the_file(desk: Keyring) -> None:
    with pytest.raises(HostError, match="no address is known of host attic"):
        Controller({"attic": ""}, desk.folder)


def test_an_agent_that_nobody_reaches_is_refused(desk: Keyring) -> None:
    with pytest.raises(HostError, match="neither listens nor connects") as caught:
        open_agent_session(desk.folder, AgentSettings())
    assert "agent.toml" in caught.value.remedy


def test_agents_are_found_on_the_local_network_only_when_they_want(tmp_path: Path) -> None:
    shy, open_ = f"tcp/127.0.0.1:{free_port()}", f"tcp/127.0.0.1:{free_port()}"
    with (
        HostSession(listen=[shy]),
        HostSession(listen=[open_], discoverable=True),
    ):
        found = discover(plain=True)
    assert shy not in found
    if not found:
        pytest.skip("this machine passes no multicast to itself")
    assert open_ in found
