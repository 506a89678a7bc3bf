"""Packets of clock exchanges: UDP, signed with a key that both ends have from the TLS link.

UDP has no retransmission and no queue of its own, so a late packet is a slow exchange and not a
wrong one. The kernel stamps what arrives (SO_TIMESTAMPNS, socket(7)); so it costs no accuracy when
Python is busy.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import select
import socket
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple

from mlink.closing import ClosesOnExit
from mlink.errors import HostError

KEY_BYTES: Final = 32
_MAGIC: Final = b"mlC1"
_BODY: Final = struct.Struct("!4sB3x8sQqqqq")
_SIGNATURE_BYTES: Final = 16
PACKET_BYTES: Final = _BODY.size + _SIGNATURE_BYTES
"""Of each packet: an answer is no longer than its question."""
_SO_TIMESTAMPNS: Final = 35
"""asm-generic/socket.h; not in Python's socket module."""
_STAMP: Final = struct.Struct("@qq")
_OLDEST_NS: Final = 1_000_000_000

Now = Callable[[], int]
"""Returns CLOCK_MONOTONIC in ns; tests inject skewed ones."""
Address = tuple[Any, ...]


class Kind(IntEnum):
    """What a packet is; signed with it, so that none can be returned as another."""

    HERE = 1
    """The controller says where it is."""
    ASK = 2
    ANSWER = 3


_KINDS: Final = frozenset(int(kind) for kind in Kind)


class Packet(NamedTuple):
    """One packet; all fields but `kind` and `number` are of answers, and 0 in others."""

    kind: Kind
    number: int
    received_ns: int = 0
    answered_ns: int = 0
    system_ns: int = 0
    """The controller's system clock − CLOCK_MONOTONIC."""
    system_error_ns: int = 0
    """How wrong that system clock may be; −1 while nothing synchronises it."""


class Signer:
    """Signs and checks packets of one pair of hosts.

    Args:
        key: Secret of both ends, 32 bytes, made for one run.

    Raises:
        HostError: The key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise HostError(
                f"a key of clock exchanges has {KEY_BYTES} bytes, not {len(key)}",
                remedy="This is a fault in mlink: please report it.",
            )
        self._key = key
        self._session = hashlib.blake2b(key, digest_size=8, person=b"mlink-id").digest()

    def pack(self, packet: Packet) -> bytes:
        """Return the bytes of a packet."""
        body = _BODY.pack(_MAGIC, packet[0], self._session, *packet[1:])
        return body + self._signature(body)

    def read(self, data: bytes) -> Packet | None:
        """Return the packet; None if it is not one, or not of the other end."""
        body = data[: _BODY.size]
        if len(data) != PACKET_BYTES or not hmac.compare_digest(
            self._signature(body), data[_BODY.size :]
        ):
            return None
        magic, kind, session, *rest = _BODY.unpack(body)
        if magic != _MAGIC or session != self._session or kind not in _KINDS:
            return None
        return Packet(Kind(kind), *rest)

    def _signature(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=_SIGNATURE_BYTES, key=self._key).digest()


class Arrival(NamedTuple):
    """A packet's bytes, when the kernel received them, and from where."""

    data: bytes
    reading_ns: int
    sender: Address


class ClockSocket(ClosesOnExit):
    """A UDP socket whose arrivals have the kernel's stamp on the given clock.

    Args:
        address: Own address to listen at; "" with `peer`.
        port: Own port; 0 takes a free one.
        peer: Address and port of the only other end; its packets alone are received.
        now_ns: The clock.

    Raises:
        HostError: There is no such address, or the port is in use.
    """

    def __init__(
        self,
        address: str = "",
        port: int = 0,
        *,
        peer: tuple[str, int] | None = None,
        now_ns: Now = time.monotonic_ns,
    ) -> None:
        self._now_ns = now_ns
        wanted = peer or (address, port)
        try:
            found = socket.getaddrinfo(*wanted, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(found[0], socket.SOCK_DGRAM)
        except OSError as error:
            raise _unusable(wanted, error) from error
        try:
            if peer is None:
                self._socket.bind(found[4])
            else:
                self._socket.connect(found[4])
        except OSError as error:
            self._socket.close()
            raise _unusable(wanted, error) from error
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):  # then arrivals are stamped when they are read
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    @property
    def port(self) -> int:
        """Own port."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Return the descriptor, to wait for arrivals."""
        return self._socket.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait for an arrival; return whether there is one."""
        return bool(select.select([self._socket], [], [], max(0.0, timeout_s))[0])

    def receive(self) -> Arrival | None:
        """Return the next arrival; None without one. Errors of earlier packets are passed over."""
        try:
            data, ancillary, _, sender = self._socket.recvmsg(PACKET_BYTES + 1, 64)
        except OSError:  # nothing, or nobody was at the other end
            return None
        system_ns, reading_ns = time.time_ns(), self._now_ns()
        for level, kind, stamp in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(stamp) == _STAMP.size:
                seconds, nanoseconds = _STAMP.unpack(stamp)
                age_ns = system_ns - (seconds * 10**9 + nanoseconds)
                if 0 <= age_ns < _OLDEST_NS:  # else the system clock was set meanwhile
                    reading_ns -= age_ns
        return Arrival(data, reading_ns, sender)

    def send(self, data: bytes, to: Address | None = None) -> bool:
        """Send; return whether the network took it."""
        try:
            if to is None:
                self._socket.send(data)
            else:
                self._socket.sendto(data, to)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()


def _unusable(wanted: tuple[str, int], error: OSError) -> HostError:
    return HostError(
        f"clocks cannot be compared at {wanted[0]}:{wanted[1]} (UDP): {error.strerror or error}",
        remedy="Give an address of this host, and a port that no other program uses.",
    )
