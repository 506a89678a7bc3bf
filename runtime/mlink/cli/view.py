"""`mlink view`: a recording, or what is below a folder, in a browser."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer

from mlink.cli.run_view import open_in_browser, view_address
from mlink.errors import StorageError


def view(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="[RECORDING|FOLDER]",
            help="A recording (RECORDING#t=USEC: at a moment); or a folder, of which benches and "
            "recordings are shown.",
        ),
    ] = Path(),
    at: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to serve it. Beyond this computer it needs --tls or --open.",
            show_default="this computer alone, a free port",
        ),
    ] = None,
    tls: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="Files of a certificate and its key."),
    ] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="With --at: serve other computers without encryption.")
    ] = False,
) -> None:
    """Show a recording, or benches and recordings below a folder, in a browser, until Ctrl-C."""
    from mlink.storage.manifest import MANIFEST
    from mlink.storage.tree import collection_folder
    from mlink.view.folder import serve_folder

    path, moment = _moment_of(path)
    address = view_address(at, tls, is_open=is_open, options=("--at", "--tls", "--open"))
    if not path.is_dir():
        raise StorageError(f"there is no folder {path}", remedy="Name a recording.")
    is_recording = (path / MANIFEST).exists()
    if is_recording:
        collection_folder(path)

    def ready(url: str, guest_url: str) -> None:
        url, guest_url = url + moment, guest_url + moment
        typer.echo(f"View: {url}\n  to look only: {guest_url}\nCtrl-C ends it.")
        open_in_browser(url)

    def ended(lasting: int) -> None:
        if lasting:
            typer.echo(f"{lasting} run(s) of this page are stopped, until their files are closed …")

    asyncio.run(serve_folder(path, address, ready, is_recording=is_recording, on_end=ended))


def _moment_of(path: Path) -> tuple[Path, str]:
    """Return a path without its moment, "#t=" and µs of the run; and the moment, or ""."""
    before, mark, moment = str(path).rpartition("#t=")
    if not mark or path.exists() or not re.fullmatch(r"-?[0-9]{1,16}", moment):
        return path, ""
    return Path(before), mark + moment
