"""Keys and sessions of hosts for tests: a lab on loopback."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from mlink.hosts.link.certificates import key_bytes, new_key, public_bytes
from mlink.hosts.link.keyring import Keyring, make_lab, read_keyring, save_keys, sign


def free_port() -> int:
    """Return a TCP port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_host(folder: Path, host: str = "desk", lab: str = "Neuro 3") -> Keyring:
    """Return the keys of a new lab's first host."""
    return make_lab(folder, lab, host)


def member(
    first: Keyring, folder: Path, host: str, role: Literal["controller", "agent"] = "agent"
) -> Keyring:
    """Return the keys of another host of a lab."""
    return read_keyring(unread_member(first, folder, host, role).folder)


def unread_member(
    first: Keyring, folder: Path, host: str, role: Literal["controller", "agent"] = "agent"
) -> Keyring:
    """Return the keys of another host of a lab without a check of them."""
    key = new_key()
    certificate, authority = sign(first.folder, public_bytes(key), host, role)
    save_keys(folder, key_bytes(key), certificate, authority)
    return Keyring(folder, first.lab, host, role, first.until)
