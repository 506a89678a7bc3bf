"""Where a view is served, and the server of its pages."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_REQUEST = 65_536
_BROKEN_OFF = "returned without completing response"


class Address(msgspec.Struct, frozen=True):
    """Where pages are served."""

    host: str = "127.0.0.1"
    """Address to listen at; by default only this computer can reach it."""
    port: int = 0
    """0 takes a free one."""
    certificate: str = ""
    """File of a TLS certificate; "" serves without TLS."""
    key: str = ""
    """File of its key."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer can reach it."""
        return self.host in LOOPBACK

    @property
    def is_everywhere(self) -> bool:
        """Whether all networks of this computer can reach it."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - it is compared, not bound

    @property
    def names(self) -> list[str]:
        """The names and addresses by which a browser may call the page."""
        if self.is_loopback:
            return [*LOOPBACK]
        own = [socket.gethostname(), socket.getfqdn(), *LOOPBACK]
        return own + _own_addresses() if self.is_everywhere else [self.host, *own]

    def url(self, port: int, token: str) -> str:
        """Return the link for the bearer of a token; `port` is the one that it has got."""
        scheme = "https" if self.certificate else "http"
        host = socket.gethostname() if self.is_everywhere else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{port}/?token={token}"

    def listen(self) -> socket.socket:
        """Return a socket that listens there.

        Raises:
            OSError: The address cannot be used.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return socket.create_server((self.host, self.port), family=family)


def make_server(app: Any, address: Address) -> uvicorn.Server:
    """Return a server of an application; who runs it ends it by `should_exit`."""
    import uvicorn

    # A download that is broken off ends its connection so; who broke it off has said so.
    logging.getLogger("uvicorn.error").addFilter(lambda each: _BROKEN_OFF not in str(each.msg))
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who gave a command is recorded: no request may say who it is
            date_header=False,
            lifespan="off",
            ws_max_size=_LONGEST_REQUEST,
            ws_ping_interval=5.0,
            ws_ping_timeout=10.0,
            ws_per_message_deflate=False,
            limit_concurrency=200,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            ssl_certfile=address.certificate or None,
            ssl_keyfile=address.key or None,
        )
    )


def _own_addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        return []
    return sorted({str(each[4][0]) for each in found})
