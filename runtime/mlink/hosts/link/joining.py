"""How a host joins a lab: one line with an address and a secret, which is good once.

Each end proves by HMAC-SHA256 that it has the secret, which is never sent. The joining host makes
its key itself and sends the public half; the lab's first host answers with a certificate. Nothing
else is exchanged, and nothing of it is secret. One message each way: a length of 4 bytes (little
endian), then msgpack.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from mlink.closing import ClosesOnExit
from mlink.errors import HostError
from mlink.hosts.link.certificates import Role, key_bytes, new_key, public_bytes
from mlink.hosts.link.keyring import Keyring, read_keyring, save_keys, sign
from mlink.hosts.link.keys import check_host_name

JOIN_PORT: Final = 7448
JOIN_S: Final = 900.0
"""For how long an invitation is good, in seconds."""
_SECRET_BYTES: Final = 20
_MOST_BYTES: Final = 65_536
_MOST_AT_ONCE: Final = 8
_TALK_S: Final = 5.0
_LENGTH: Final = struct.Struct("<I")

_Pem = Annotated[bytes, msgspec.Meta(max_length=8192)]
_Text = Annotated[str, msgspec.Meta(max_length=1000)]


class _Join(msgspec.Struct, frozen=True):
    host: Annotated[str, msgspec.Meta(max_length=63)]
    key: _Pem
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class _Joined(msgspec.Struct, frozen=True):
    certificate: _Pem = b""
    authority: _Pem = b""
    error: _Text = ""


class _Sealed(msgspec.Struct, frozen=True):
    body: Annotated[bytes, msgspec.Meta(max_length=_MOST_BYTES)]
    mac: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Joined(msgspec.Struct, frozen=True):
    """A host that has joined: its name, and where its agent is going to listen ("" if nowhere)."""

    host: str
    address: str


class Invitation(ClosesOnExit):
    """Lets one host join the lab. It listens only while it is open.

    Args:
        folder: Folder of the lab's first host.
        role: What the host may do.
        address: Address of this host to listen at.
        port: The port; 0 for any.

    Raises:
        HostError: This is not the lab's first host, or the address cannot be used.
    """

    def __init__(
        self, folder: Path, role: Role = "agent", address: str = "", port: int = JOIN_PORT
    ) -> None:
        if not read_keyring(folder).is_first:
            raise HostError(
                "this is not the lab's first host, and cannot let others join",
                remedy="Run this on the host where mlink agent init was run.",
            )
        self._folder, self._role = folder, role
        self._secret = secrets.token_bytes(_SECRET_BYTES)
        self._lock, self._joined = threading.Lock(), threading.Event()
        self._result: Joined | None = None
        self.refused = 0
        """Attempts without the secret, damaged, or after the first."""
        where = address or _own_address()
        try:
            self._server = socket.create_server((where, port), backlog=_MOST_AT_ONCE)
        except OSError as error:
            raise HostError(
                f"no invitation can be given at {where}:{port}: {error.strerror}",
                remedy="Give another address or port: --at ADDRESS:PORT.",
            ) from error
        self._server.settimeout(0.1)
        self.address = f"{where}:{self._server.getsockname()[1]}"
        self._until_s = time.monotonic() + JOIN_S
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, "invitation")
        self._free = threading.BoundedSemaphore(_MOST_AT_ONCE)

    @property
    def line(self) -> str:
        """The command that joins a host, with the secret."""
        secret = base64.b32encode(self._secret).decode().lower()
        return f"mlink agent join {self.address} {secret}"

    def wait(self, *, until: Callable[[], bool] = lambda: False) -> Joined | None:
        """Return the host that has joined; None after 15 minutes, or when `until` returns True."""
        while not self._joined.is_set():
            if time.monotonic() > self._until_s or until():
                return None
            if not self._free.acquire(timeout=0.1):
                continue
            try:
                connection, peer = self._server.accept()
            except OSError:  # none has come
                self._free.release()
                continue
            self._pool.submit(self._serve, connection, peer[0])
        return self._result

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            with connection:
                self._answer(connection, peer)
        except (OSError, msgspec.MsgspecError, RecursionError, HostError):
            self.refused += 1
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket, peer: str) -> None:
        sealed = _receive(connection)
        if not hmac.compare_digest(sealed.mac, _mac(self._secret, b"join", sealed.body)):
            raise HostError("another secret")
        request = msgspec.msgpack.decode(sealed.body, type=_Join)
        with self._lock:
            try:
                if self._result is not None:
                    raise HostError("this invitation was used already; ask for another one")
                certificate, authority = sign(self._folder, request.key, request.host, self._role)
            except HostError as error:
                _send(connection, self._secret, sealed.mac, _Joined(error=error.message[:1000]))
                raise
            where = f"tls/{peer}:{request.port}" if request.port else ""
            self._result = Joined(request.host, where)
        with contextlib.suppress(OSError):
            _send(connection, self._secret, sealed.mac, _Joined(certificate, authority))
        self._joined.set()

    def close(self) -> None:
        """Let nobody join any more."""
        self._server.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


def join(folder: Path, address: str, secret: str, host: str, port: int) -> Keyring:
    """Make a key, get a certificate for it from the lab's first host, and write both.

    Args:
        folder: Folder of this host's keys.
        address: ADDRESS:PORT of the invitation.
        secret: Its secret.
        host: Name of this host.
        port: Port at which this host's agent is going to listen; 0 for none.

    Raises:
        HostError: Nobody invites there, the secret is another one, or it was used already.
    """
    check_host_name(host)
    if (folder / "lab.key").exists():
        raise HostError(
            f"this is the first host of a lab of its own ({folder})",
            remedy="To join another lab, move that folder away.",
        )
    where, _, number = address.rpartition(":")
    try:
        raw = base64.b32decode(secret.upper())
        if len(raw) != _SECRET_BYTES or not where:
            raise ValueError
        place = (where.strip("[]"), int(number))
    except ValueError as error:
        raise HostError(
            "the line of the invitation is damaged", remedy="Copy it anew, as a whole."
        ) from error
    key = new_key()
    body = msgspec.msgpack.encode(_Join(host, public_bytes(key), port, secrets.token_bytes(16)))
    mac = _mac(raw, b"join", body)
    try:
        with socket.create_connection(place, _TALK_S) as connection:
            _write(connection, _Sealed(body, mac))
            sealed = _receive(connection)
    except (OSError, OverflowError, msgspec.MsgspecError) as error:
        raise HostError(
            f"nobody lets this host join at {address}: {_words(error)}",
            remedy="An invitation is good once, for 15 minutes, while mlink agent invite runs: ask "
            "for another one.",
        ) from error
    if not hmac.compare_digest(sealed.mac, _mac(raw, mac, sealed.body)):
        raise HostError(
            f"who answers at {address} does not know the secret",
            remedy="Copy the line anew; if it is right, another computer has that address.",
        )
    answer = msgspec.msgpack.decode(sealed.body, type=_Joined)
    if answer.error:
        raise HostError(f"the lab's first host refuses: {answer.error}", remedy="See its output.")
    save_keys(folder, key_bytes(key), answer.certificate, answer.authority)
    return read_keyring(folder)


def _words(error: Exception) -> str:
    if isinstance(error, EOFError | ConnectionResetError | msgspec.MsgspecError):
        return "the connection was closed; is the secret whole?"
    return getattr(error, "strerror", None) or str(error) or "no answer"


def _mac(secret: bytes, what: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, what + b"\0" + body, hashlib.sha256)


M = TypeVar("M", bound=msgspec.Struct)


def _send(connection: socket.socket, secret: bytes, asked: bytes, answer: _Joined) -> None:
    body = msgspec.msgpack.encode(answer)
    _write(connection, _Sealed(body, _mac(secret, asked, body)))


def _write(connection: socket.socket, sealed: _Sealed) -> None:
    packed = msgspec.msgpack.encode(sealed)
    connection.sendall(_LENGTH.pack(len(packed)) + packed)


def _receive(connection: socket.socket) -> _Sealed:
    """Return what the other end sends, within 5 s.

    Raises:
        OSError: It does not, or sends too much.
    """
    end_s = time.monotonic() + _TALK_S
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size, end_s))
    if length > _MOST_BYTES:
        raise ConnectionResetError("more than 64 kB")
    return msgspec.msgpack.decode(_read(connection, length, end_s), type=_Sealed)


def _read(connection: socket.socket, count: int, end_s: float) -> bytes:
    found = b""
    while len(found) < count:
        connection.settimeout(max(0.01, end_s - time.monotonic()))
        more = connection.recv(count - len(found))
        if not more or time.monotonic() > end_s:
            raise ConnectionResetError("closed")
        found += more
    return found


def _own_address() -> str:
    """Return this computer's address in its network; no packet is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"
