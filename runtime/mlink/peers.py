"""Who is at the other end of a Unix socket: connections of other users are refused."""

from __future__ import annotations

import os
import socket
import struct

_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: process, user, group."""


def is_trusted(connection: socket.socket) -> bool:
    """Return whether the process at the other end belongs to this user, or to root.

    Args:
        connection: A connected Unix socket; of a client, its server is the other end.
    """
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return False  # it has gone
    return _CREDENTIALS.unpack(found)[1] in (os.geteuid(), 0)
