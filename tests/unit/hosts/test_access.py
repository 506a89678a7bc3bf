"""Who may do what on a protected link: sessions with the keys of a lab, over loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.errors import HostError
from mlink.hosts.link.access import check_endpoints, credentials
from mlink.hosts.link.calls import Calls, Message, Service
from mlink.hosts.link.keyring import Keyring
from mlink.hosts.link.keys import call_key, run_key
from mlink.hosts.link.session import HostSession
from tests.support.hosts_lab import first_host, free_port, member


class Ping(Message, frozen=True):
    pass


class Pong(Message, frozen=True):
    pass


handled: list[Ping] = []


def pong(request: Ping) -> Pong:
    handled.append(request)
    return Pong()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def desk(folder: Path) -> Keyring:
    return first_host(folder / "desk")


@pytest.fixture(scope="module")
def chamber(desk: Keyring, folder: Path) -> Iterator[tuple[str, HostSession]]:
    """The agent `chamber`: its endpoint, its session."""
    keys = member(desk, folder / "chamber", "chamber")
    endpoint, local = f"tls/127.0.0.1:{free_port()}", f"unixsock-stream/{folder}/link.sock"
    with (
        HostSession(listen=[endpoint, local], credentials=credentials(keys)) as session,
        Service(session, "chamber", {Ping: pong}),
    ):
        yield endpoint, session


def test_a_controller_of_the_lab_may_call(desk: Keyring, chamber: tuple[str, HostSession]) -> None:
    rules = credentials(desk, hosts=["chamber"])
    with HostSession(connect=[chamber[0]], credentials=rules) as session:
        assert Calls(session).ask("chamber", Ping(), Pong, 10) == Pong()


def test_an_agent_sees_hosts_and_may_not_call_them(
    desk: Keyring, chamber: tuple[str, HostSession], folder: Path
) -> None:
    keys = member(desk, folder / "pi", "pi")
    handled.clear()
    with HostSession(connect=[chamber[0]], credentials=credentials(keys)) as session:
        assert session.presence.wait_for("chamber", 10)
        with pytest.raises(HostError, match="did not answer") as caught:
            Calls(session).ask("chamber", Ping(), Pong, 0.3)
        assert "only controllers may" in caught.value.remedy
        for key in (call_key("chamber"), "mlink/**", "mlink/*/host/*/call", "**"):
            assert not list(session.zenoh.get(key, payload=b"\x81\xa4type\xa4Ping", timeout=0.3))
    assert not handled


@pytest.mark.parametrize("who", ["another lab", "nobody", "plain"])
def test_strangers_do_not_get_in(
    desk: Keyring, chamber: tuple[str, HostSession], tmp_path: Path, who: str
) -> None:
    endpoint, rules = chamber[0], {}
    if who == "plain":
        endpoint = endpoint.replace("tls/", "tcp/")
    else:
        rules = credentials(first_host(tmp_path / "lab", lab="Optics"))
        tls = rules["transport/link/tls"]
        tls["root_ca_certificate"] = str(desk.file("lab.pem"))  # trusts us; we do not trust it
        if who == "nobody":
            tls |= {"enable_mtls": False, "connect_private_key": None, "connect_certificate": None}
    with HostSession(connect=[endpoint], credentials=rules) as session:
        assert not session.presence.wait_for("chamber", 0.5)


def test_strangers_with_garbage_cost_a_controller_nothing(
    desk: Keyring, chamber: tuple[str, HostSession]
) -> None:
    port = int(chamber[0].rpartition(":")[2])
    with HostSession(connect=[chamber[0]], credentials=credentials(desk)) as session:
        calls = Calls(session)
        calls.ask("chamber", Ping(), Pong, 10)
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for number in range(20):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(bytes([number]) * 5000)
        assert calls.ask("chamber", Ping(), Pong, 10) == Pong()
        for each in silent:
            each.close()


def test_a_controller_does_not_trust_a_stranger_at_the_address(
    desk: Keyring, folder: Path, tmp_path: Path
) -> None:
    other = first_host(tmp_path, lab="Optics", host="chamber")
    endpoint = f"tls/127.0.0.1:{free_port()}"
    with (
        HostSession(listen=[endpoint], credentials=credentials(other)) as theirs,
        Service(theirs, "chamber", {Ping: pong}),
        HostSession(connect=[endpoint], credentials=credentials(desk)) as session,
    ):
        assert not session.presence.wait_for("chamber", 0.5)


def test_an_agent_cannot_pass_for_another_host(desk: Keyring, folder: Path) -> None:
    keys = member(desk, folder / "liar", "liar")
    endpoint = f"tls/127.0.0.1:{free_port()}"
    rules = credentials(desk, hosts=["attic", "liar"])
    with (
        HostSession(listen=[endpoint], credentials=credentials(keys)) as theirs,
        Service(theirs, "attic", {Ping: pong}),
        Service(theirs, "liar", {Ping: pong}),
        HostSession(connect=[endpoint], credentials=rules) as session,
    ):
        assert Calls(session).ask("liar", Ping(), Pong, 10) == Pong()
        assert not session.presence.named("attic")


def test_workers_of_a_host_reach_runs_and_nothing_else(
    desk: Keyring, chamber: tuple[str, HostSession], folder: Path
) -> None:
    local, key = f"unixsock-stream/{folder}/link.sock", run_key("12ab", "cam", "video")
    handled.clear()
    with (
        HostSession(connect=[chamber[0]], credentials=credentials(desk)) as controller,
        HostSession(connect=[local], mode="client") as worker,
    ):
        with controller.zenoh.declare_subscriber(key) as subscriber:
            for _ in range(200):
                worker.zenoh.put(key, b"item")
                if (sample := subscriber.try_recv()) is not None:
                    break
                controller.presence.wait_for_change(0.05)
            assert sample is not None
            assert bytes(sample.payload) == b"item"
        assert not list(worker.zenoh.get(call_key("chamber"), payload=b"", timeout=0.3))
        assert not worker.presence.hosts()
    assert not handled


@pytest.mark.parametrize(
    ("endpoint", "plain", "what"),
    [
        ("tcp/10.0.0.7:7447", False, "is not protected"),
        ("tls/10.0.0.7:7447", True, "is protected, and --open was given"),
        ("udp/10.0.0.7:7447", False, "is no address of a host"),
        ("10.0.0.7", False, "is no address of a host"),
    ],
)
def test_a_plain_link_takes_an_explicit_word(endpoint: str, plain: bool, what: str) -> None:
    with pytest.raises(HostError, match=what):
        check_endpoints([endpoint], plain=plain)


def test_endpoints_that_are_taken() -> None:
    check_endpoints(["tls/10.0.0.7:7447", "unixsock-stream//run/link"], plain=False)
    check_endpoints(["tcp/127.0.0.1:7447"], plain=True)
