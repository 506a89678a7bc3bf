"""agent.toml and hosts.toml: read, written, and refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.errors import HostError
from mlink.hosts.link.keys import check_host_name
from mlink.hosts.link.settings import (
    AgentSettings,
    HostsFile,
    own_name,
    read_agent_settings,
    read_hosts_file,
    remember_host,
    write_agent_settings,
)


def test_without_files_nothing_listens_and_nothing_is_looked_for(tmp_path: Path) -> None:
    assert read_agent_settings(tmp_path) == AgentSettings()
    assert AgentSettings().listen == ()
    assert not AgentSettings().discover
    assert not AgentSettings().allow_scripts
    assert read_hosts_file(tmp_path) == HostsFile()


def test_settings_are_written_once_and_read_back(tmp_path: Path) -> None:
    write_agent_settings(tmp_path, ("tls/0.0.0.0:7447",))
    write_agent_settings(tmp_path, ("tls/0.0.0.0:1",))
    assert read_agent_settings(tmp_path) == AgentSettings(listen=("tls/0.0.0.0:7447",))


def test_hosts_that_have_joined_are_remembered(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text("discover = true\n")
    remember_host(tmp_path, "pi", "tls/10.0.0.8:7447")
    remember_host(tmp_path, "chamber", "tls/10.0.0.7:7447")
    remember_host(tmp_path, "pi", "tls/10.0.0.9:7447")
    expected = {"chamber": "tls/10.0.0.7:7447", "pi": "tls/10.0.0.9:7447"}
    assert read_hosts_file(tmp_path) == HostsFile(discover=True, hosts=expected)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("listen = [", "is no valid TOML"),
        ("listen = 7447", "Expected `array`"),
        ("lisen = []", "unknown field `lisen`"),
        ("# " + "x" * (1 << 20), "larger than 1 MB"),
        ("\x00", "is no valid TOML"),
    ],
    ids=["TOML", "type", "key", "size", "bytes"],
)
def test_a_wrong_file_is_said(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(HostError, match=what) as caught:
        read_agent_settings(tmp_path)
    assert "agent.toml" in caught.value.message
    assert caught.value.remedy


def test_a_name_in_the_file_that_no_host_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text('[hosts]\n"a/b" = "tls/10.0.0.7:7447"\n')
    with pytest.raises(HostError, match="'a/b' cannot be the name of a host"):
        read_hosts_file(tmp_path)


@pytest.mark.parametrize("name", ["Lab-PC.example.org", "__", "", "ÄÖ", "x" * 100])
def test_any_machine_has_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    assert check_host_name(own_name())
