"""The socket by which the engine leads the program of simulated boards in virtual time.

A Unix SEQPACKET socket. The engine sends the virtual time of the next turn, and one at which to
stand still before it; the program answers how far it has run, which boards have sent something
then, and which an edge has halted. Here are the messages; `control/simulation.py` is the engine's
end, `sim/server/lockstep.py` the program's.
"""

from __future__ import annotations

import socket
import struct

import msgspec

from mlink.devices import Reached

REQUEST = struct.Struct("=qq")
"""Virtual time up to which to simulate, and the one at which to stand still, in µs."""
_PEER = struct.Struct("3i")
"""Process, user and group at the other end of a socket."""
_answers = msgspec.msgpack.Decoder(tuple[int, list[str], list[str], set[int]])
NOT_KNOWN = 0
"""In place of a process ID: any process that uses the board may have something to read."""


def encode_answer(reached: Reached) -> bytes:
    """Return an answer as the bytes of its message."""
    return msgspec.msgpack.encode(tuple(reached))


def decode_answer(answer: bytes) -> Reached:
    """Return the answer that a message holds."""
    return Reached(*_answers.decode(answer))


def reader_of(connection: socket.socket) -> int:
    """Return the process ID at the other end of a Unix socket."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(peer)[0])
