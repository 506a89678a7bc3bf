"""The one Zenoh session of a process: where it listens, whom it connects to, and its bounds."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from mlink.closing import ClosesOnExit
from mlink.errors import HostError
from mlink.hosts.link.presence import Presence

if TYPE_CHECKING:
    import zenoh

MOST_BYTES: Final = 64 << 20
"""Size of the largest message; Zenoh closes the link of a peer that sends a larger one."""
_MOST_SESSIONS: Final = 256
_OPEN_MSEC: Final = 4000
"""For how long one end waits for the other while a connection opens."""
_PAUSE_S: Final = 0.15
"""After the end of a session: one that follows at once might not be seen (`is_deaf`)."""
_RETRY: Final = {"period_init_ms": 200, "period_max_ms": 2000, "period_increase_factor": 2}


class HostSession(ClosesOnExit):
    """A Zenoh session with mlink's bounds. It listens nowhere and scouts nothing of its own accord.

    Args:
        listen: Endpoints to listen at, such as "tls/0.0.0.0:7447", "tcp/127.0.0.1:0" or
            "unixsock-stream//run/user/1000/mlink/link.sock".
        connect: Endpoints to connect to. One that is not there is tried again until the session
            ends, also after a connection was lost.
        mode: "router" passes on what others send, as agents and controllers do; "client" has one
            connection, as the bridges of workers.
        local: Whether to listen at a Unix socket too, which only this user reaches: for the
            workers of this host (`local_endpoint`).
        discoverable: Whether to answer who looks for agents on the local network.
        credentials: Further settings of Zenoh by their paths: the keys and the access control of
            `mlink.hosts.link.keyring`; none for a plain session.

    Raises:
        HostError: Zenoh is not installed, an endpoint is not valid, or cannot be listened at.
    """

    def __init__(
        self,
        *,
        listen: Sequence[str] = (),
        connect: Sequence[str] = (),
        mode: Literal["router", "client"] = "router",
        local: bool = False,
        discoverable: bool = False,
        credentials: Mapping[str, Any] | None = None,
    ) -> None:
        module = zenoh_module()
        self._folder = tempfile.mkdtemp(prefix="mlink-link-") if local else ""
        self.local_endpoint = f"unixsock-stream/{self._folder}/link" if local else ""
        """Where workers of this host connect to, as clients."""
        listen = (*listen, self.local_endpoint) if local else tuple(listen)
        settings: dict[str, Any] = {
            "mode": mode,
            "listen": {"endpoints": list(listen), "exit_on_failure": True, "timeout_ms": 0},
            "connect": {
                "endpoints": list(connect),
                "exit_on_failure": mode == "client",
                "timeout_ms": 5000 if mode == "client" else -1,
                "retry": _RETRY,
            },
            "scouting/multicast": {
                "enabled": discoverable,
                "listen": discoverable,
                "autoconnect": {"router": [], "peer": [], "client": []},
            },
            "scouting/gossip/enabled": False,
            "scouting/delay": 1,
            "transport/shared_memory/enabled": False,
            "transport/link/rx/max_message_size": MOST_BYTES,
            "transport/unicast/max_sessions": _MOST_SESSIONS,
            "transport/unicast/open_timeout": _OPEN_MSEC,
            "transport/unicast/accept_timeout": _OPEN_MSEC,
            "timestamping/enabled": False,
            **(credentials or {}),
        }
        self._module, self._settings = module, settings
        self._where = ", ".join([*listen, *connect])
        self._pause_s = _PAUSE_S if mode == "router" and connect else 0.0
        self.zenoh: zenoh.Session = self._open()
        self.presence = Presence(self.zenoh)
        """Who is there."""

    def _open(self) -> zenoh.Session:
        try:
            config = self._module.Config()
            for path, value in self._settings.items():
                config.insert_json5(path, json.dumps(value))
            return self._module.open(config)
        except self._module.ZError as error:
            self._remove_folder()
            raise _why_not_open(str(error), self._where) from error

    def reopen(self) -> None:
        """End the session and begin another one; nothing may have been declared in it yet."""
        self._end()
        self.zenoh = self._open()
        self.presence = Presence(self.zenoh)

    def is_deaf(self, timeout_s: float) -> bool:
        """Return whether this session is connected to agents that it does not see.

        Routers of Zenoh 1.10 give nothing to a router that comes within 100 ms after another one
        has gone, as they reckon their tree of routers once for both changes.

        Args:
            timeout_s: How long to wait for them to be seen, in seconds.
        """
        end_s = time.monotonic() + timeout_s
        while True:
            near = len(list(self.zenoh.info.routers_zid()))
            if near and near <= len(self.presence.hosts()):
                return False
            if time.monotonic() > end_s:
                return near > 0
            self.presence.wait_for_change(0.02)

    @property
    def id(self) -> str:
        """The session's id: hexadecimal digits, different for each session."""
        return str(self.zenoh.info.zid())

    def close(self) -> None:
        """End the session; a second call does nothing."""
        self._end()
        self._remove_folder()

    def _end(self) -> None:
        self.presence.close()
        if not self.zenoh.is_closed():
            self.zenoh.close()
            time.sleep(self._pause_s)

    def _remove_folder(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def zenoh_module() -> Any:
    """Return Zenoh's Python module.

    Raises:
        HostError: It is not installed.
    """
    try:
        import zenoh
    except ImportError as error:
        raise HostError(
            "runs on several machines need Eclipse Zenoh",
            remedy="pip install 'mlink-hil[hosts]'",
        ) from error
    return zenoh


def _why_not_open(text: str, where: str) -> HostError:
    if "ddress already in use" in text or "os error 98" in text:
        what, remedy = "another program listens there", "Give another port, or end that program."
    elif "annot assign requested address" in text or "os error 99" in text:
        what, remedy = "this machine has no such address", "`ip address` lists its addresses."
    elif "ermission denied" in text or "os error 13" in text:
        what, remedy = "this user may not listen there", "Give a port above 1023."
    else:
        what, remedy = text.splitlines()[0][:300] if text else "Zenoh gives no reason", ""
    return HostError(f"no session between hosts at {where or 'no address'}: {what}", remedy=remedy)
