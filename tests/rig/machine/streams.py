"""Copying of the job's standard streams between the guest's ports and our descriptors."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def copy_output(port: socket.socket, descriptor: int, mark: bytes) -> None:
    """Copy what the guest writes to a descriptor of ours, up to the end mark or the port's end.

    Raises:
        BrokenPipeError: When the reader of our descriptor is gone.
    """
    held = b""
    while held != mark:
        data = port.recv(65536)
        if not data:
            return
        held += data
        # The end of what has come may be the beginning of the mark: hold it back.
        keep = next(n for n in range(min(len(mark), len(held)), -1, -1) if held.endswith(mark[:n]))
        output, held = held[: len(held) - keep], held[len(held) - keep :]
        while output:
            output = output[os.write(descriptor, output) :]


def copy_input(port: socket.socket) -> None:
    """Copy our stdin to the guest, up to its end."""
    with suppress(OSError):
        while data := os.read(0, 4096):
            port.sendall(data)
    with suppress(OSError):
        port.shutdown(socket.SHUT_WR)
