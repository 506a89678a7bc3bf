"""Settings of hosts: `agent.toml` of an agent, `hosts.toml` with the addresses of others."""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from mlink.errors import HostError
from mlink.hosts.link.keyring import write_private
from mlink.hosts.link.keys import check_host_name

PORT: Final = 7447
"""Port of agents, which is that of Zenoh's routers."""
AGENT_FILE: Final = "agent.toml"
HOSTS_FILE: Final = "hosts.toml"
_MOST_BYTES: Final = 1 << 20
_MOST_HOSTS: Final = 256

_Endpoints = Annotated[tuple[str, ...], msgspec.Meta(max_length=16)]


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of an agent, with their defaults."""

    listen: _Endpoints = ()
    """Where other hosts reach it, such as "tls/0.0.0.0:7447"."""
    connect: _Endpoints = ()
    """Hosts or routers that it connects to itself, where it cannot be reached."""
    discover: bool = False
    """Whether it answers hosts of the local network that look for agents (UDP 224.0.0.224:7446)."""
    recordings: str = "~/recordings"
    """Folder of its recordings."""
    allow_scripts: bool = False
    """Whether controllers may send scripts, which then run as this user."""
    name: str = ""
    """Its name where it has no keys (`mlink agent --open`); else its certificate has it."""

    @property
    def folder(self) -> Path:
        """The folder of its recordings."""
        return Path(self.recordings).expanduser()


class HostsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of other hosts."""

    discover: bool = False
    """Whether to look for agents on the local network."""
    hosts: dict[str, str] = {}
    """Addresses by name."""


S = TypeVar("S", bound=msgspec.Struct)


def read_agent_settings(folder: Path) -> AgentSettings:
    """Return the settings of this host's agent; the defaults where there is no file.

    Raises:
        HostError: The file cannot be read, or is wrong.
    """
    return _read(folder / AGENT_FILE, AgentSettings)


def read_hosts_file(folder: Path) -> HostsFile:
    """Return what is known of other hosts; nothing where there is no file.

    Raises:
        HostError: The file cannot be read, or is wrong.
    """
    found = _read(folder / HOSTS_FILE, HostsFile)
    if len(found.hosts) > _MOST_HOSTS:
        text = f"{folder / HOSTS_FILE} has {len(found.hosts)} hosts; at most {_MOST_HOSTS} can be"
        raise HostError(text, remedy="Remove some.")
    for name in found.hosts:
        check_host_name(name)
    return found


def remember_host(folder: Path, host: str, address: str) -> None:
    """Write a host's address into the file of hosts.

    Raises:
        HostError: The file is wrong, or cannot be written.
    """
    known = read_hosts_file(folder)
    hosts = known.hosts | {host: address}
    lines = ["# Hosts that `mlink hosts` asks; mlink agent invite adds those that join.", ""]
    lines += [f"discover = {json.dumps(known.discover)}", "", "[hosts]"]
    lines += [f"{name} = {json.dumps(where)}" for name, where in sorted(hosts.items())]
    write_private(folder / HOSTS_FILE, ("\n".join(lines) + "\n").encode())


def write_agent_settings(folder: Path, listen: tuple[str, ...]) -> None:
    """Write the settings of an agent, where there are none yet."""
    if (folder / AGENT_FILE).exists():
        return
    text = f"""# Settings of `mlink agent` on this host. It listens only while it runs.

listen = {json.dumps(list(listen))}
connect = []                # where this host cannot be reached: hosts that it connects to
discover = false            # whether hosts of the local network find it
recordings = "~/recordings"
allow_scripts = false       # whether controllers may send scripts, which run as this user
"""
    write_private(folder / AGENT_FILE, text.encode())


def own_name() -> str:
    """Return this machine's name, as a host's name."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower())
    return name.strip("-")[:63].strip("-") or "host"


def _read(path: Path, kind: type[S]) -> S:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                raise HostError(f"{path} is larger than 1 MB", remedy="Make it smaller.")
            given: dict[str, Any] = tomllib.load(file)
    except FileNotFoundError:
        return kind()
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
        raise HostError(text, remedy="Look at its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HostError(f"{path} is no valid TOML: {error}", remedy="Correct that line.") from error
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise HostError(f"{path}: {error}", remedy=f"Its keys: {known} (docs/hosts.md).") from error
