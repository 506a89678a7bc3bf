"""`python -m mlink.view.program`: serves the page of one run; `mlink.view.link` starts it.

It reads its `Config` from its standard input, prints a line with the address, and ends when its
standard input does: with the process that started it, whatever ended that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import uvicorn

from mlink.errors import ControlError
from mlink.peers import is_trusted
from mlink.view.app import make_app
from mlink.view.guard import Guard, Tokens
from mlink.view.messages import read_from_run
from mlink.view.state import RunState

_LAST_WORDS_S = 0.3
"""For pages to be sent the end of the run."""
_FAREWELL_S = 2.0
"""Longest time for their connections to close."""
_LONGEST_REQUEST = 65_536


class Config(msgspec.Struct):
    """What the program is given."""

    socket: str
    """Path of the Unix socket at which it listens for the run and its feed."""
    host: str
    port: int
    """0 for any."""
    names: list[str]
    """Names and addresses under which the page may be reached."""
    owner: str
    guest: str
    """The tokens of the two links."""
    certificate: str = ""
    key: str = ""


class Listening(msgspec.Struct):
    """What it prints when pages may come."""

    port: int
    error: str = ""


async def serve(config: Config) -> None:
    """Serve until the standard input ends."""
    state = RunState()
    try:
        listener = _listen(config)
    except OSError as error:
        _answer(Listening(0, f"cannot listen at {config.host}:{config.port}: {error.strerror}"))
        return
    port = int(listener.getsockname()[1])
    guard = Guard(
        Tokens(config.owner, config.guest), port, config.names, secure=bool(config.certificate)
    )
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(state, guard),
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            ws_max_size=_LONGEST_REQUEST,
            ws_ping_interval=5.0,
            ws_ping_timeout=10.0,
            ws_per_message_deflate=False,
            limit_concurrency=200,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            ssl_certfile=config.certificate or None,
            ssl_keyfile=config.key or None,
        )
    )
    runs = await asyncio.start_unix_server(
        lambda reader, writer: _read_run(state, reader, writer), config.socket
    )
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    _answer(Listening(port))
    await _end_of_input()
    await asyncio.sleep(0.05)  # what the run sent before its end is read first
    runs.close()
    await asyncio.sleep(_LAST_WORDS_S)
    server.should_exit = True
    await asyncio.wait({serving}, timeout=_FAREWELL_S)


def _listen(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    return socket.create_server((config.host, config.port), family=family)


def _answer(message: Listening) -> None:
    sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    sys.stdout.flush()


async def _read_run(
    state: RunState, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Read one connection of the run: its own, or its feed's."""
    sock = writer.get_extra_info("socket")
    if not is_trusted(sock):
        writer.close()
        return
    try:
        while (message := await read_from_run(reader)) is not None:
            state.take(message, writer)
    except ControlError as error:
        sys.stderr.write(f"{error}\n")
    finally:
        state.gone(writer)
        writer.close()


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
    os.nice(10)  # a page comes after the modules of the run
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    try:
        asyncio.run(serve(config))
    finally:
        Path(config.socket).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
