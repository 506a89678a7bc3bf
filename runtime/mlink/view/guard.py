"""Who may use the page: tokens, their cookies, and the hosts and origins that requests name.

A page of another site can make a browser send requests to this computer. Such a request has no
cookie of ours (`SameSite=Strict`), names another origin, or, after a change of its name's address
(DNS rebinding), another host.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from enum import Enum
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import urlsplit

TOKEN_BYTES = 16
"""128 bits."""
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-src 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""


class Role(Enum):
    """What the bearer of a link may do."""

    OWNER = "owner"
    """See the run, and stop it; command it where the run allows that."""
    GUEST = "guest"
    """See the run."""


class Tokens(NamedTuple):
    """The secrets in the two links of a run."""

    owner: str
    guest: str


def new_tokens() -> Tokens:
    """Return two new tokens of 128 bits each."""
    return Tokens(secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES))


class Guard:
    """Decides on requests.

    Args:
        tokens: The secrets of the two links.
        port: Port of the server, which is part of the cookie's name: cookies know no ports.
        hosts: Names and addresses under which the page may be reached, without the port.
        secure: Whether the page is served by TLS.
    """

    def __init__(
        self, tokens: Tokens, port: int, hosts: Iterable[str], *, secure: bool = False
    ) -> None:
        self._roles = {tokens.owner: Role.OWNER, tokens.guest: Role.GUEST}
        self.guest_token = tokens.guest
        """Of the link for those who may only look, which everybody who looks may pass on."""
        self._cookie = f"mlink-view-{port}"
        self._secure = secure
        default = 443 if secure else 80
        self._hosts = {f"{_bracketed(host)}:{port}" for host in hosts}
        if port == default:
            self._hosts |= {_bracketed(host) for host in hosts}

    def is_host(self, host: str | None) -> bool:
        """Return whether a request's `Host` names this server."""
        return host is not None and host.lower() in self._hosts

    def is_origin(self, origin: str | None, *, needed: bool) -> bool:
        """Return whether a request comes from our own page.

        Args:
            origin: Header `Origin`; browsers leave it out where a page only loads something.
            needed: Whether a request without it is refused: for what changes anything.
        """
        if origin is None:
            return not needed
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme == ("https" if self._secure else "http") and self.is_host(parts.netloc)

    def role_of(self, token: str) -> Role | None:
        """Return what a token allows; None for a wrong one."""
        found = None
        for known, role in self._roles.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "surrogatepass")):
                found = role
        return found

    def role_of_cookie(self, header: str | None) -> Role | None:
        """Return what the cookie of a request allows; None without one, or with a wrong one."""
        try:
            cookie = SimpleCookie(header or "").get(self._cookie)
        except CookieError:
            return None
        return None if cookie is None else self.role_of(cookie.value)

    def cookie(self, token: str) -> str:
        """Return the header `Set-Cookie` for the bearer of a token."""
        secure = "; Secure" if self._secure else ""
        return f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()
