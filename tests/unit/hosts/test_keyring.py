"""Keys of hosts: who signed them, what they allow, and what is said of wrong ones."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest

from mlink.errors import HostError
from mlink.hosts.link.certificates import new_key, public_bytes
from mlink.hosts.link.keyring import Keyring, hosts_folder, make_lab, read_keyring, sign
from tests.support.hosts_lab import first_host, member


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return first_host(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def agent(lab: Keyring, tmp_path: Path) -> Keyring:
    return member(lab, tmp_path, "chamber")


def test_the_first_host_is_a_controller_and_others_have_the_role_they_were_given(
    lab: Keyring, agent: Keyring, tmp_path: Path
) -> None:
    assert (lab.lab, lab.host, lab.role, lab.is_first) == ("Neuro 3", "desk", "controller", True)
    assert (agent.lab, agent.host, agent.role) == ("Neuro 3", "chamber", "agent")
    assert not agent.is_first
    assert member(lab, tmp_path / "b", "office", "controller").role == "controller"


def test_all_files_are_for_this_user_only(lab: Keyring, agent: Keyring) -> None:
    for keys in (lab, agent):
        for file in keys.folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_key_of_the_lab_stays_on_its_first_host(agent: Keyring) -> None:
    names = sorted(file.name for file in agent.folder.iterdir())
    assert names == ["host.key", "host.pem", "lab.pem"]
    with pytest.raises(HostError, match="not the lab's first host"):
        sign(agent.folder, public_bytes(new_key()), "attic", "agent")


def test_a_second_lab_does_not_overwrite_the_first(lab: Keyring) -> None:
    with pytest.raises(HostError, match="has keys already"):
        make_lab(lab.folder, "other", "desk")


def test_keys_that_others_may_read_are_refused(agent: Keyring) -> None:
    agent.file("host.key").chmod(0o640)
    with pytest.raises(HostError, match=r"others may read .*host\.key \(mode 640\)") as caught:
        read_keyring(agent.folder)
    assert caught.value.remedy == f"chmod 600 {agent.file('host.key')}"


@pytest.mark.parametrize("name", ["host.key", "host.pem", "lab.pem"])
@pytest.mark.parametrize("content", [b"", b"\x00garbage", b"x" * 100_000], ids=len)
def test_damaged_files_are_named(agent: Keyring, name: str, content: bytes) -> None:
    agent.file(name).write_bytes(content)
    with pytest.raises(HostError, match=name.replace(".", r"\.")) as caught:
        read_keyring(agent.folder)
    assert "mlink agent invite" in caught.value.remedy


def test_a_missing_file_is_named(agent: Keyring) -> None:
    agent.file("lab.pem").unlink()
    with pytest.raises(HostError, match=r"lab\.pem cannot be read: No such file"):
        read_keyring(agent.folder)


def test_a_folder_without_keys_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="this host has no keys") as caught:
        read_keyring(tmp_path)
    assert "mlink agent init" in caught.value.remedy


def test_the_key_of_another_host_does_not_fit(agent: Keyring, lab: Keyring) -> None:
    agent.file("host.key").write_bytes(lab.file("host.key").read_bytes())
    with pytest.raises(HostError, match=r"host\.key in .* does not belong to its certificate"):
        read_keyring(agent.folder)


def test_a_certificate_of_another_lab_is_refused(agent: Keyring, tmp_path: Path) -> None:
    other = first_host(tmp_path / "other", lab="Optics")
    agent.file("lab.pem").write_bytes(other.file("lab.pem").read_bytes())
    with pytest.raises(HostError, match="not of the lab Optics"):
        read_keyring(agent.folder)


def test_a_certificate_of_no_host_is_refused(agent: Keyring, lab: Keyring) -> None:
    agent.file("host.pem").write_bytes(lab.file("lab.pem").read_bytes())
    agent.file("host.key").write_bytes(lab.file("lab.key").read_bytes())
    with pytest.raises(HostError, match="is no certificate of a host of mlink"):
        read_keyring(agent.folder)


def test_a_certificate_that_has_expired_says_when(
    lab: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mlink.hosts.link.certificates.utc_now", lambda: lab.until + datetime.timedelta(days=1)
    )
    with pytest.raises(HostError, match=rf"has expired on {lab.until:%Y-%m-%d}") as caught:
        read_keyring(lab.folder)
    assert "mlink agent invite" in caught.value.remedy


def test_a_clock_that_was_not_set_is_named(lab: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime.datetime(1970, 1, 1, 0, 5, tzinfo=datetime.UTC)
    monkeypatch.setattr("mlink.hosts.link.certificates.utc_now", lambda: at)
    with pytest.raises(HostError, match="here it is 1970-01-01 00:05") as caught:
        read_keyring(lab.folder)
    assert "clock" in caught.value.remedy


@pytest.mark.parametrize("key", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_request_with_a_damaged_key_is_not_signed(lab: Keyring, key: bytes) -> None:
    with pytest.raises(HostError, match="the key of chamber"):
        sign(lab.folder, key, "chamber", "agent")


def test_where_keys_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLINK_HOSTS_DIR", "/a")
    assert hosts_folder() == Path("/a")
    monkeypatch.delenv("MLINK_HOSTS_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert hosts_folder() == Path("/c/mlink/hosts")
