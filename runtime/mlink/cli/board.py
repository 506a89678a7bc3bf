"""`mlink board`: a console on one board, without a bench."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlink.devices import DeviceEndpoint

CONSOLES_GROUP = "mlink.consoles"
"""Entry points: functions (address, *, name, baud_rate, commands) that run a console."""


def board(
    device: Annotated[str, typer.Argument(help="A device as in a bench, such as virtual:uno.")],
    commands: Annotated[
        list[str] | None,
        typer.Option(
            "--command",
            "-c",
            metavar="COMMAND",
            help="Execute this and exit; repeatable.",
        ),
    ] = None,
    baud_rate: Annotated[
        int, typer.Option("--baud", metavar="RATE", help="Bits per second.", min=1)
    ] = 57600,
    protocol: Annotated[str, typer.Option(help="Protocol of the board.")] = "firmata",
) -> None:
    """Read and set the pins of a board by hand."""
    import tempfile

    from mlink.errors import BenchError
    from mlink.installed import entry_points
    from mlink.proposals import proposal

    consoles = {entry.name: entry for entry in entry_points(group=CONSOLES_GROUP)}
    if protocol not in consoles:
        raise BenchError(
            f"there is no console for the protocol '{protocol}'",
            remedy=proposal(protocol, consoles, "protocols"),
        )
    run_console = consoles[protocol].load()
    with tempfile.TemporaryDirectory(prefix="mlink-") as folder, _opened(device, folder) as found:
        run_console(
            found.address, name=found.spec, baud_rate=baud_rate, commands=tuple(commands or ())
        )


def _opened(device: str, folder: str) -> AbstractContextManager[DeviceEndpoint]:
    """Start a virtual board; pass the address of a real one on."""
    import logging

    from mlink.catalog import device_provider
    from mlink.devices import DeviceEndpoint

    provider = device_provider(device.partition(":")[0])
    if provider is None:
        return nullcontext(DeviceEndpoint(name="board", spec=device, address=device))
    log = logging.getLogger("mlink.devices")
    return provider.open(name="board", spec=device, work_dir=Path(folder), log=log)
