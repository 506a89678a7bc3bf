"""`mlink run --view`: where its page is served, and the run that it shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mlink.bench import Bench
    from mlink.cli.live import LogView
    from mlink.engine.options import RunOptions
    from mlink.engine.status import RunResult
    from mlink.view.link import Address, ViewLink


def view_address(at: str | None, tls: tuple[Path, Path] | None, *, is_open: bool) -> Address:
    """Return where a view is served.

    Args:
        at: "HOST:PORT", or None for this computer alone and any port.
        tls: Files of a certificate and of its key, or None.
        is_open: Whether other computers may use it without encryption.

    Raises:
        BadParameter: The address is none, a file is missing, or it would be open unasked.
    """
    from mlink.view.link import Address

    for path in tls or ():
        if not path.is_file():
            raise typer.BadParameter(f"there is no file {path}", param_hint="--view-tls")
    certificate, key = tls or (None, None)
    host, port = "127.0.0.1", 0
    if at is not None:
        host, colon, number = at.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not number.isdecimal() or int(number) > 65535:
            raise typer.BadParameter(
                f"{at!r} is no HOST:PORT, such as 127.0.0.1:8080", param_hint="--view-at"
            )
        port = int(number)
    address = Address(host, port, certificate, key)
    if not address.is_loopback and tls is None and not is_open:
        raise typer.BadParameter(
            f"at {host} other computers can reach the page, and read what it sends: give a "
            "certificate (--view-tls CERT KEY), or allow that by --view-open",
            param_hint="--view-at",
        )
    return address


def run_with_view(bench: Bench, options: RunOptions, view: LogView, address: Address) -> RunResult:
    """Run a bench, and serve its page while it runs.

    Raises:
        MlinkError: The page cannot be served, or as `mlink.engine.run.run_bench`.
    """
    from mlink.engine.run import Engine
    from mlink.view.link import ViewLink, with_view

    with ViewLink(bench, address, view, duration_s=options.duration_s) as link:
        view.console.print(f"View: {link.url}", soft_wrap=True, markup=False)
        view.console.print(f"  to look only: {link.guest_url}", soft_wrap=True, markup=False)
        _open_browser(link)
        engine = Engine(with_view(bench, link), options, link)
        link.on_stop = engine.request_stop
        result = engine.run()
        link.conclude(result)
        return result


def _open_browser(link: ViewLink) -> None:
    """Open the page where there is a desktop."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    opener = shutil.which("xdg-open")
    if opener is not None:
        subprocess.Popen(
            [opener, str(link.opening_page)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
