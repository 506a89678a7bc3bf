"""Who is at the other end of a Unix socket: what comes from other users is refused."""

from __future__ import annotations

import os
import socket
import struct

_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: process, user, group."""


def user_of(connection: socket.socket) -> int:
    """Return the user of the process at the other end.

    Args:
        connection: A connected Unix socket; of a client, its server is the other end.

    Raises:
        PermissionError: It is neither this user nor root.
        OSError: It has gone.
    """
    return _trusted(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))


def is_trusted(connection: socket.socket) -> bool:
    """Return whether the process at the other end belongs to this user, or to root.

    Args:
        connection: As for `user_of`.
    """
    try:
        user_of(connection)
    except OSError:  # of another user, or it has gone
        return False
    return True


def name_senders(receiver: socket.socket) -> None:
    """Let the kernel add to each datagram who has sent it, for `receive_trusted`."""
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def receive_trusted(receiver: socket.socket, size: int) -> bytes:
    """Return the next datagram of a socket.

    Args:
        receiver: A Unix socket after `name_senders`.
        size: Most bytes of a datagram.

    Raises:
        PermissionError: It is neither this user's nor root's; it is not there any more.
        OSError: As `recv`; BlockingIOError when there is none.
    """
    data, ancillary, _, _ = receiver.recvmsg(size, socket.CMSG_SPACE(_CREDENTIALS.size))
    for _, kind, credentials in ancillary:
        if kind == socket.SCM_CREDENTIALS:
            _trusted(credentials)
            return data
    raise PermissionError("the sender is not known")


def _trusted(credentials: bytes) -> int:
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    if uid not in (os.geteuid(), 0):
        raise PermissionError(f"the other end is of user {uid}")
    return uid
