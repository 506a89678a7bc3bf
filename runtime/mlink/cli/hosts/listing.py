"""`mlink hosts`: which hosts are there, what they have, and who uses them."""

from __future__ import annotations

import getpass
import math
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.cli.options import AsJson
from mlink.cli.terminal.output import ExitCode, counted, plain_table, print_json, table_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlink.hosts.link.listing import ListedHost


def hosts(
    address: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS]...",
            help="Addresses to ask, such as tls/10.0.0.7:7447, beside those of hosts.toml.",
        ),
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="End the lease on a host, and the run that has it."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.1, max=60, help="How long to wait for hosts.")
    ] = 3.0,
    plain: Annotated[
        bool, typer.Option("--open", help="Without keys: agents with --open.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List the hosts that are there: devices, load, free disk, version, clock, who uses them."""
    from mlink.errors import HostError
    from mlink.hosts.link.calls import Calls
    from mlink.hosts.link.controller import Controller
    from mlink.hosts.link.keyring import hosts_folder
    from mlink.hosts.link.listing import list_hosts, release_host
    from mlink.hosts.link.settings import own_name

    folder, also = hosts_folder(), tuple(address or ())
    with Controller({}, folder, plain=plain, any_name=True, also=also) as controller:
        if release:
            by = f"{getpass.getuser()} at {own_name()}"
            had = release_host(Calls(controller), release, by)
            if json:
                print_json({"hosts": [], "released": had})
                return
            for name, owner in had.items():
                typer.echo(f"{name}: released from {owner}" if owner else f"{name} was free")
            return
        listed = list_hosts(controller, timeout_s=timeout, others=len(also))
    if json:
        print_json({"hosts": listed, "released": {}})
    elif not listed:
        raise HostError(
            "no host was found",
            remedy="Give an address, or write addresses or discover = true into "
            f"{folder / 'hosts.toml'} (docs/hosts.md).",
        )
    else:
        _show(listed)
    if any(each.problem for each in listed):
        raise typer.Exit(ExitCode.FAILED)


def _show(listed: Sequence[ListedHost]) -> None:
    console = table_console()
    table = plain_table("host", "devices", "load", "free disk", "mlink", "clock", "used by")
    for each in listed:
        about = each.about
        if about is None:
            continue
        real = sum(device.kind != "virtual" for device in about.devices)
        table.add_row(
            each.host,
            counted(real, "device") + (" (some not found)" if about.problems else ""),
            f"{about.load:.1f} of {about.processors}",
            f"{about.disk_free_bytes / 1e9:.0f} GB",
            about.version,
            _clock(each.clock_offset_usec, each.clock_error_usec),
            _owner(about.lease.owner, about.lease.away_s),
        )
    if table.row_count:
        console.print(table)
    for each in listed:
        if each.problem:
            console.print(each.problem, style="red", markup=False)
            console.print(f"  → {each.remedy}", markup=False)


def _clock(offset_usec: float | None, error_usec: float | None) -> str:
    if offset_usec is None or error_usec is None:
        return "?"
    places = max(0, -math.floor(math.log10(max(error_usec, 1) / 1000)))
    return f"{offset_usec / 1000:+.{places}f} ± {error_usec / 1000:.{places}f} ms"


def _owner(owner: str, away_s: float) -> str:
    if not owner:
        return "–"
    return f"{owner} (gone for {away_s:.0f} s)" if away_s else owner
