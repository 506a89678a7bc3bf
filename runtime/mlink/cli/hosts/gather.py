"""`mlink gather`: bring what hosts have recorded into the recording of their run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlink.cli.terminal.output import ExitCode, table_console


def gather(
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    is_open: Annotated[
        bool, typer.Option("--open", help="Without keys: agents with --open.")
    ] = False,
) -> None:
    """Bring what other hosts have recorded in a run into its recording, checked by digests."""
    from mlink.hosts.link.calls import Calls
    from mlink.hosts.link.controller import Controller
    from mlink.hosts.link.keyring import hosts_folder
    from mlink.hosts.run.gather import gather_left, left_on_hosts

    console = table_console()
    left = left_on_hosts(recording)
    if not left:
        console.print("nothing is left on other hosts", markup=False)
        return
    addresses = {host: str(about.get("address", "")) for host, about in left.items()}
    with Controller(addresses, hosts_folder(), plain=is_open) as session:
        errors = gather_left(Calls(session), recording)
    for host in left:
        error = errors.get(host)
        what = "gathered" if error is None else f"not gathered: {error.message}"
        console.print(f"{host}: {what}", markup=False, soft_wrap=True)
        if error is not None and error.remedy:
            console.print(f"  → {error.remedy}", markup=False, soft_wrap=True)
    if errors:
        raise typer.Exit(ExitCode.FAILED)
