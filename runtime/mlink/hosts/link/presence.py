"""Who is there: the liveliness tokens of hosts, watched by each session."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlink.closing import ClosesOnExit
from mlink.hosts.link.keys import EVERY_ALIVE, read_alive_key

if TYPE_CHECKING:
    import zenoh

_MOST: Final = 1000
"""Hosts that are remembered; further ones are counted only."""


@dataclass(frozen=True, slots=True, order=True)
class Presented:
    """A host that is there.

    Attributes:
        host: Its name.
        protocol: Number of its protocol.
        version: Its version of mlink.
        session: Id of its session: two of one name are two hosts.
    """

    host: str
    protocol: int
    version: str
    session: str


class Presence(ClosesOnExit):
    """Keeps the hosts that are there now, as their tokens come and go.

    Args:
        session: An open session of Zenoh.
    """

    def __init__(self, session: zenoh.Session) -> None:
        import zenoh

        self._put = zenoh.SampleKind.PUT
        self._changed = threading.Condition()
        self._hosts: dict[str, Presented] = {}
        self.refused = 0
        """Tokens that were not taken: no key of mlink, or more than 1000 hosts."""
        self._subscriber: Any = session.liveliness().declare_subscriber(
            EVERY_ALIVE, self._on_token, history=True
        )

    def _on_token(self, sample: zenoh.Sample) -> None:
        key = str(sample.key_expr)
        found = read_alive_key(key)
        is_there = sample.kind == self._put
        with self._changed:
            if found is None or (is_there and len(self._hosts) >= _MOST):
                self.refused += 1
                return
            protocol, host, version, session = found
            if is_there:
                self._hosts[key] = Presented(host, protocol, version, session)
            else:
                self._hosts.pop(key, None)
            self._changed.notify_all()

    def hosts(self) -> list[Presented]:
        """Return the hosts that are there, in the order of their names."""
        with self._changed:
            return sorted(self._hosts.values())

    def named(self, host: str) -> list[Presented]:
        """Return the sessions that have a host's name: none, one, or more by mistake."""
        return [each for each in self.hosts() if each.host == host]

    def wait_for(self, host: str, timeout_s: float) -> list[Presented]:
        """Return the sessions that have a host's name, as soon as there is one.

        Args:
            host: The name.
            timeout_s: How long to wait, in seconds; the list is empty afterwards.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: any(each.host == host for each in self._hosts.values()), timeout_s
            )
        return self.named(host)

    def wait_for_change(self, timeout_s: float) -> bool:
        """Wait until a host comes or goes; return whether one did within `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait(timeout_s)

    def close(self) -> None:
        """Watch no longer; a second call does nothing."""
        if self._subscriber is not None:
            self._subscriber.undeclare()
            self._subscriber = None
