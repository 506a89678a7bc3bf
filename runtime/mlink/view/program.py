"""`python -m mlink.view.program`: serves the page of one run; `mlink.view.run.link` starts it.

It reads its `Config` from its standard input, prints a line with the address, and ends when its
standard input does: with the process that started it, whatever ended that.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from mlink.view.app import make_app
from mlink.view.guard import Guard, Tokens
from mlink.view.server import Address, make_server
from mlink.view.state import RunState

_LAST_WORDS_S = 0.3
"""For pages to be sent the end of the run."""
_KILLED_S = 10.0
"""How long pages are served after a run that was killed."""
_FAREWELL_S = 2.0
"""Longest time for their connections to close."""


class Config(msgspec.Struct):
    """What the program is given."""

    socket: str
    """Path of the Unix socket at which it listens for the run and its feed."""
    address: Address
    owner: str
    guest: str
    """The tokens of the two links."""


class Listening(msgspec.Struct):
    """What it prints when pages may come."""

    port: int
    error: str = ""


async def serve(config: Config) -> None:
    """Serve until the standard input ends."""
    state, address = RunState(), config.address
    try:
        listener = address.listen()
    except OSError as error:
        _answer(Listening(0, f"cannot listen at {address.host}:{address.port}: {error.strerror}"))
        return
    port = int(listener.getsockname()[1])
    tokens = Tokens(config.owner, config.guest)
    guard = Guard(tokens, port, address.names, secure=bool(address.certificate))
    server = make_server(make_app(guard, "index.html", state), address)
    runs = await state.listen(config.socket)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    _answer(Listening(port))
    os.nice(19)  # from now on a page comes after the modules of the run
    await _end_of_input()
    await asyncio.sleep(0.05)  # what the run sent before its end is read first
    runs.close()
    await asyncio.sleep(_KILLED_S if state.lost_contact else _LAST_WORDS_S)
    server.should_exit = True
    await asyncio.wait({serving}, timeout=_FAREWELL_S)


def _answer(message: Listening) -> None:
    sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    sys.stdout.flush()


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


def main() -> None:
    """Read the configuration and serve."""
    for number in (signal.SIGINT, signal.SIGHUP):  # the run ends this program, by its input
        signal.signal(number, signal.SIG_IGN)
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    try:
        asyncio.run(serve(config))
    finally:
        shutil.rmtree(Path(config.socket).parent, ignore_errors=True)  # the run may be killed


if __name__ == "__main__":
    main()
