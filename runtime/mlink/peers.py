"""Who is at the other end of a Unix socket: connections of other users are refused."""

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
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(found)[1]
    if uid not in (os.geteuid(), 0):
        raise PermissionError(f"the other end is of user {uid}")
    return uid


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
