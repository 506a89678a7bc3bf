"""`mlink devices`: the devices of this machine, and their addresses in a bench."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import AsJson
from mlink.cli.terminal.output import plain_table, print_json, table_console

PROBES_GROUP = "mlink.probes"
MODES_GROUP = "mlink.modes"
_ASKED_AT_ONCE = 16

if TYPE_CHECKING:
    from rich.table import Table

    from mlink.devices import FoundDevice


def devices(
    probe: Annotated[
        bool, typer.Option("--probe", help="Query USB serial ports for their firmware.")
    ] = False,
    modes: Annotated[
        bool, typer.Option("--modes", help="List the formats, sizes and rates of each camera.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List serial ports, cameras and virtual devices. A bench names them by these addresses."""
    from mlink.api.devices import list_devices

    found = list_devices()
    asked = ask(found, "serial", PROBES_GROUP) if probe else {}
    asked |= ask(found, "camera", MODES_GROUP) if modes else {}
    if json:
        print_json({"devices": found, "problems": found.problems, "answers": asked})
        return
    console = table_console()
    console.print(_table(found))
    for address, answers in asked.items():
        console.print(f"{address}:", style="bold")
        for answer in answers:
            console.print(f"  {answer}", markup=False)
    if all(device.kind == "virtual" for device in found):
        console.print("No serial port and no camera was found on this machine.", style="dim")
    for problem in found.problems:
        console.print(problem, style="yellow", markup=False)


def ask(found: list[FoundDevice], kind: str, group: str) -> dict[str, list[str]]:
    """Return the answers of all devices of one kind, by address.

    Args:
        found: The devices.
        kind: "serial" or "camera". Serial ports that are not USB devices are skipped, since
            another program may use them.
        group: Entry point group of the functions to call. Each is called with an address and
            returns one answer or a list of them, which is empty for what it does not know. An
            address with a scheme is that of the entry point of this name.
    """
    from concurrent.futures import ThreadPoolExecutor

    from mlink.errors import MlinkError
    from mlink.installed import entry_points

    asked = []
    for device in found:
        usb = any(name.startswith("usb:") for name in device.identity)
        if device.kind == kind and not device.problem and (kind != "serial" or usb):
            asked.append(device.address)
    calls = [(entry.name, entry.load()) for entry in entry_points(group=group)] if asked else []

    def answers(address: str) -> list[str]:
        found: list[str] = []
        scheme, colon, _ = address.partition(":")
        for name, call in calls:
            if colon and name != scheme:
                continue
            try:
                answer = call(address)
            except MlinkError as error:
                answer = error.message
            except OSError as error:
                answer = error.strerror or str(error)
            found += map(str, answer if isinstance(answer, list) else [answer])
        return found

    if not asked or not calls:
        return {}
    # A silent port takes seconds; nodes of one camera are not opened at the same time.
    with ThreadPoolExecutor(_ASKED_AT_ONCE if kind == "serial" else 1) as pool:
        return dict(zip(asked, pool.map(answers, asked), strict=True))


def _table(found: list[FoundDevice]) -> Table:
    from rich.text import Text

    table = plain_table("kind")
    # Addresses are never wrapped or cut, so that they can be copied.
    table.add_column("address", no_wrap=True, overflow="ignore")
    table.add_column("name")
    table.add_column("other addresses", overflow="fold")
    for device in found:
        name = Text(device.name)
        if device.problem:
            name.append(f"\n{device.problem}", style="red")
        if device.remedy:
            name.append(f"\n→ {device.remedy}")
        also = Text("\n".join(device.identity))
        table.add_row(device.kind, Text(device.address, style="bold"), name, also)
    return table
