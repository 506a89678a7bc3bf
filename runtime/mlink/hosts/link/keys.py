"""Names on the link: of hosts, and of the keys under which they exchange messages."""

from __future__ import annotations

import re
from typing import Final

from mlink.errors import HostError

PROTOCOL: Final = 1
"""Number of the protocol, in each key. Hosts with another one see each other, and refuse calls."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ALIVE: Final = re.compile(r"mlink/([0-9]{1,9})/host/([^/]+)/alive/([^/]{1,64})/([0-9a-f]{1,32})")


def check_host_name(name: str) -> str:
    """Return the name of a host, if it can be one.

    Args:
        name: 1 to 63 small letters, digits and hyphens, as in names of the network.

    Raises:
        HostError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise HostError(
            f"{name[:80]!r} cannot be the name of a host",
            host=name[:80],
            remedy="Use 1 to 63 small letters, digits and hyphens, such as chamber or pi-3.",
        )
    return name


def call_key(host: str) -> str:
    """Return the key of calls to a host."""
    return f"mlink/{PROTOCOL}/host/{host}/call"


def alive_key(host: str, version: str, session: str) -> str:
    """Return the key of the token that says that a host is there."""
    return f"mlink/{PROTOCOL}/host/{host}/alive/{version}/{session}"


EVERY_ALIVE: Final = "mlink/*/host/*/alive/*/*"
"""Keys of the tokens of all hosts, also of other protocols."""


def read_alive_key(key: str) -> tuple[int, str, str, str] | None:
    """Return protocol, host, version and session of a token; None if the key is of another form."""
    found = _ALIVE.fullmatch(key)
    if found is None or not _NAME.fullmatch(found[2]):
        return None
    return int(found[1]), found[2], found[3], found[4]


def run_key(run: str, *parts: str) -> str:
    """Return a key of a run.

    Args:
        run: The run's id, as hexadecimal digits.
        parts: What follows: (host, "events"), or (module, port) of a stream. Characters that mean
            something in keys of Zenoh are escaped.
    """
    return "/".join((f"mlink/{PROTOCOL}/run/{run}", *map(_escaped, parts)))


def _escaped(part: str) -> str:
    return re.sub(r"[/*$?#%\s]", lambda found: f"%{ord(found[0]):02x}", part)
