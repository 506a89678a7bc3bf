"""How a host joins a lab: the line of an invitation, used once, by who has its secret."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.errors import HostError
from mlink.hosts.link import joining
from mlink.hosts.link.joining import Invitation, Joined, join
from mlink.hosts.link.keyring import Keyring
from tests.support.hosts_lab import first_host, free_port, member


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return first_host(tmp_path_factory.mktemp("desk"))


class _Open:
    """An invitation that is waited for in a thread."""

    def __init__(self, invitation: Invitation) -> None:
        self.invitation = invitation
        self.end = threading.Event()
        self.joined: list[Joined | None] = []
        self.thread = threading.Thread(target=self._wait)
        self.thread.start()

    def _wait(self) -> None:
        self.joined.append(self.invitation.wait(until=self.end.is_set))

    @property
    def words(self) -> tuple[str, str]:
        address, secret = self.invitation.line.removeprefix("mlink agent join ").split()
        return address, secret


@pytest.fixture
def opened(desk: Keyring) -> Iterator[_Open]:
    with Invitation(desk.folder, "agent", "127.0.0.1", 0) as invitation:
        opened = _Open(invitation)
        yield opened
        opened.end.set()
        opened.thread.join()


def test_the_line_of_an_invitation_joins_a_host(opened: _Open, tmp_path: Path) -> None:
    keys = join(tmp_path, *opened.words, "chamber", 7447)
    opened.thread.join()
    assert (keys.host, keys.role, keys.lab) == ("chamber", "agent", "Neuro 3")
    assert opened.joined == [Joined("chamber", "tls/127.0.0.1:7447")]


def test_the_invitation_decides_the_role(desk: Keyring, tmp_path: Path) -> None:
    with Invitation(desk.folder, "controller", "127.0.0.1", 0) as invitation:
        opened = _Open(invitation)
        assert join(tmp_path, *opened.words, "office", 0).role == "controller"
        opened.thread.join()
    assert opened.joined == [Joined("office", "")]


def test_an_invitation_is_good_once(opened: _Open, tmp_path: Path) -> None:
    join(tmp_path / "a", *opened.words, "chamber", 0)
    opened.thread.join()
    second = threading.Thread(target=opened.invitation.wait)
    opened.invitation._joined.clear()  # it would not listen any more
    second.start()
    with pytest.raises(HostError, match="was used already"):
        join(tmp_path / "b", *opened.words, "attic", 0)
    opened.invitation._joined.set()
    second.join()
    assert not (tmp_path / "b").exists()


def test_another_secret_joins_nobody(opened: _Open, tmp_path: Path) -> None:
    address, _ = opened.words
    with pytest.raises(HostError, match="nobody lets this host join") as caught:
        join(tmp_path, address, "a" * 32, "chamber", 0)
    assert "mlink agent invite" in caught.value.remedy
    assert not list(tmp_path.iterdir())
    join(tmp_path, *opened.words, "chamber", 0)
    opened.thread.join()
    assert opened.invitation.refused == 1


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100_000, b"\x04\x00\x00\x00\x91\x91\x91\x91"]
)
def test_garbage_costs_an_invitation_nothing(opened: _Open, tmp_path: Path, sent: bytes) -> None:
    host, _, port = opened.words[0].rpartition(":")
    with socket.create_connection((host, int(port)), 10) as stranger:
        try:
            stranger.sendall(sent)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100) == b""
        except OSError:  # closed before all was sent
            pass
    join(tmp_path, *opened.words, "chamber", 0)
    opened.thread.join()
    assert opened.invitation.refused == 1


def test_who_answers_without_the_secret_is_not_believed(desk: Keyring, tmp_path: Path) -> None:
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            joining._receive(connection)
            joining._send(connection, bytes(20), b"", joining._Joined(b"x", b"y"))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(HostError, match="does not know the secret"):
            join(tmp_path, f"127.0.0.1:{server.getsockname()[1]}", "b" * 32, "chamber", 0)
        thread.join()
    assert not list(tmp_path.iterdir())


def test_an_invitation_ends_after_its_time(desk: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "JOIN_S", 0.0)
    with Invitation(desk.folder, "agent", "127.0.0.1", 0) as invitation:
        assert invitation.wait() is None


def test_nobody_invites_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"nobody lets this host join .*refused"):
        join(tmp_path, f"127.0.0.1:{free_port()}", "a" * 32, "chamber", 0)


@pytest.mark.parametrize(
    ("address", "secret"),
    [("127.0.0.1", "a" * 32), ("127.0.0.1:7448", "a" * 8), ("127.0.0.1:x", "a" * 32), ("h:1", "!")],
)
def test_a_damaged_line_is_said(tmp_path: Path, address: str, secret: str) -> None:
    with pytest.raises(HostError, match="the line of the invitation is damaged"):
        join(tmp_path, address, secret, "chamber", 0)


def test_only_the_first_host_invites_and_it_joins_no_other_lab(
    desk: Keyring, tmp_path: Path
) -> None:
    with pytest.raises(HostError, match="not the lab's first host"):
        Invitation(member(desk, tmp_path, "pi").folder)
    with pytest.raises(HostError, match="first host of a lab of its own"):
        join(desk.folder, "127.0.0.1:1", "a" * 32, "chamber", 0)


def test_a_port_in_use_is_said(desk: Keyring) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(HostError, match=r"no invitation can be given at 127\.0\.0\.1:.*in use"),
    ):
        Invitation(desk.folder, "agent", "127.0.0.1", server.getsockname()[1])
