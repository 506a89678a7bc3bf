"""`mlink line`: set a line of a running bench by hand, through its `hwline-userctl` module."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.errors import ControlError

if TYPE_CHECKING:
    from mlink.modules.actions.userctl import Answer, Request

_PATIENCE_S = 5.0


def line(
    line: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE.]LINE", help="Line to set; with the module if there are several."
        ),
    ] = None,
    value: Annotated[
        str, typer.Argument(help="high, low, pulse (50 ms), or 0 to 65535 for an analog line.")
    ] = "",
) -> None:
    """Set a line of a running bench by hand; without LINE, list those that there are.

    The bench needs a module `hwline-userctl` with the line in its `output_ctls`.
    """
    from mlink.modules.actions.userctl import Request

    found = _modules()
    if line is None:
        if not found:
            typer.echo("no running bench has a module hwline-userctl")
        for path in found:
            typer.echo(f"{path.stem}: {', '.join(_ask(path, Request()).lines)}")
        return
    module, _, number = line.rpartition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 6 and value):
        raise ControlError(
            f"'{line} {value}' sets no line",
            remedy="For example: mlink line 13 high, or mlink line panel.13 pulse.",
        )
    meant = [path for path in found if module in ("", path.stem)]
    if len(meant) != 1:
        names = ", ".join(sorted(path.stem for path in found)) or "none"
        raise ControlError(
            f"{len(meant) or 'no'} running modules could be meant; there are: {names}",
            remedy="Start the bench, or name the module: mlink line MODULE.13 high.",
        )
    answer = _ask(meant[0], Request(int(number), value))
    if answer.error:
        raise ControlError(answer.error, remedy=f"It has: {', '.join(answer.lines)}.")


def _modules() -> list[Path]:
    """Return the sockets of all modules that can be asked."""
    from mlink.engine.setup.workdir import runs_dir
    from mlink.modules.actions.userctl import SOCKET_SUFFIX

    return sorted(runs_dir().glob(f"*/*{SOCKET_SUFFIX}"))


def _ask(path: Path, request: Request) -> Answer:
    import msgspec

    from mlink.modules.actions.userctl import Answer
    from mlink.peers import user_of

    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PATIENCE_S)
            client.connect(str(path))
            user_of(client)
            client.sendall(msgspec.json.encode(request))
            return msgspec.json.decode(client.recv(100_000), type=Answer)
    except (OSError, msgspec.MsgspecError) as error:
        raise ControlError(
            f"the module {path.stem} does not answer: {error}",
            remedy="Look whether its run still lasts.",
        ) from error
