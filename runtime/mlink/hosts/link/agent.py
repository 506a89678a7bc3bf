"""The agent: lets controllers of its lab use this host. Runs are served by what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from mlink.closing import ClosesOnExit
from mlink.errors import HostError
from mlink.hosts.link.about import AskAbout, ReadClock, about_here, read_clock
from mlink.hosts.link.access import check_endpoints, credentials
from mlink.hosts.link.calls import Handler, Message, Service
from mlink.hosts.link.keyring import read_keyring
from mlink.hosts.link.lease import Lease, LeaseKeeper, ReleaseHost, TakeHost
from mlink.hosts.link.session import HostSession
from mlink.hosts.link.settings import AGENT_FILE, AgentSettings, own_name

_STEP_S: Final = 0.1


class RunSide(Protocol):
    """Serves runs on this host (`mlink.hosts.run`)."""

    handlers: Mapping[type[Message], Handler]
    """What handles the requests about runs."""

    def lease_ended(self, lease: Lease, why: str) -> None:
        """End what a lease's run does here: somebody released the host, or its controller left."""

    def look(self) -> None:
        """Handle what has happened; called ten times a second."""

    def close(self) -> None:
        """End all that runs."""


class Agent(ClosesOnExit):
    """Serves this host: says what it is, gives leases, and lets runs be served.

    Args:
        host: Its name.
        settings: Its settings.
        session: An open session.
        make_runs: Makes what serves runs; called once, with the agent.
    """

    def __init__(
        self,
        host: str,
        settings: AgentSettings,
        session: HostSession,
        make_runs: Callable[[Agent], RunSide] | None = None,
    ) -> None:
        self.host, self.settings, self.session = host, settings, session
        self.lease = LeaseKeeper(session, self._on_lease_end)
        self._runs = make_runs(self) if make_runs is not None else None
        handlers: dict[type[Message], Handler] = {
            AskAbout: self._about,
            ReadClock: read_clock,
            TakeHost: self.lease.take,
            ReleaseHost: self.lease.release,
            **(self._runs.handlers if self._runs is not None else {}),
        }
        self.service = Service(session, host, handlers)

    def _about(self, request: AskAbout) -> Message:
        return about_here(
            request,
            host=self.host,
            recordings=self.settings.folder,
            allow_scripts=self.settings.allow_scripts,
            lease=self.lease.now(),
        )

    def _on_lease_end(self, lease: Lease, why: str) -> None:
        if self._runs is not None:
            self._runs.lease_ended(lease, why)

    def serve(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Serve until `until` returns True, or an exception such as Ctrl-C ends it."""
        while not until():
            self.lease.look()
            if self._runs is not None:
                self._runs.look()
            time.sleep(_STEP_S)

    def close(self) -> None:
        """Serve no longer: what runs is ended. The session stays open."""
        self.service.close()
        if self._runs is not None:
            self._runs.close()
        self.lease.close()


def open_agent_session(
    folder: Path, settings: AgentSettings, *, plain: bool = False
) -> tuple[str, HostSession]:
    """Return the name of this host, and an open session as its settings say.

    Args:
        folder: Folder of keys and settings.
        settings: The settings.
        plain: Whether everybody may connect and control this host, without keys.

    Raises:
        HostError: It has no keys, no address, one that is not protected or cannot be used.
    """
    keys = None if plain else read_keyring(folder)
    if not settings.listen and not settings.connect:
        raise HostError(
            "this agent would be reached by nobody: it neither listens nor connects",
            remedy=f'Write listen = ["{"tcp" if plain else "tls"}/0.0.0.0:7447"] into '
            f"{folder / AGENT_FILE}, or give --listen.",
        )
    check_endpoints([*settings.listen, *settings.connect], plain=plain)
    session = HostSession(
        listen=settings.listen,
        connect=settings.connect,
        local=True,
        discoverable=settings.discover,
        credentials=None if keys is None else credentials(keys),
    )
    return (settings.name or own_name()) if keys is None else keys.host, session
