"""`mlink run --view`: where its page is served, and the run that it shows."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mlink.bench import Bench
    from mlink.cli.terminal.live import LogView
    from mlink.engine.options import RunOptions
    from mlink.engine.status import RunResult
    from mlink.view.server import Address


def view_address(
    at: str | None,
    tls: tuple[Path, Path] | None,
    *,
    is_open: bool,
    options: tuple[str, str, str] = ("--view-at", "--view-tls", "--view-open"),
) -> Address:
    """Return where a view is served.

    Args:
        at: "HOST:PORT", or None for this computer alone and any port.
        tls: Files of a certificate and of its key, or None.
        is_open: Whether other computers may use it without encryption.
        options: Names of the options that gave these.

    Raises:
        BadParameter: The address is none, a file is missing, or it would be open unasked.
    """
    from mlink.view.server import Address

    at_option, tls_option, open_option = options
    for path in tls or ():
        if not path.is_file():
            raise typer.BadParameter(f"there is no file {path}", param_hint=tls_option)
    certificate, key = map(str, tls or ("", ""))
    host, port = "127.0.0.1", 0
    if at is not None:
        host, colon, number = at.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not number.isdecimal() or int(number) > 65535:
            raise typer.BadParameter(
                f"{at!r} is no HOST:PORT, such as 127.0.0.1:8080", param_hint=at_option
            )
        port = int(number)
    address = Address(host, port, certificate, key)
    if not address.is_loopback and tls is None and not is_open:
        raise typer.BadParameter(
            f"at {host} other computers can reach the page, and read what it sends: give a "
            f"certificate ({tls_option} CERT KEY), or allow that by {open_option}",
            param_hint=at_option,
        )
    return address


def run_with_view(
    bench: Bench,
    options: RunOptions,
    view: LogView,
    address: Address | None,
    served_at: Path | None = None,
    *,
    paused: bool = False,
    control: bool | None = None,
) -> RunResult:
    """Run a bench, and serve its page while it runs; in virtual time a page can step through it.

    Args:
        bench: The bench.
        options: Options of the run.
        view: Shows the run in the terminal.
        address: Where to serve the page; None with `served_at`.
        served_at: Socket of a program that serves it already.
        paused: In virtual time: whether the run stands at its start until a page lets it go on.
        control: Whether pages may command modules; None leaves that to the bench.

    Raises:
        MlinkError: The page cannot be served, or as `mlink.engine.run.run_bench`.
    """
    from mlink.engine.run import Engine
    from mlink.errors import BenchError
    from mlink.tap.attach import commandable
    from mlink.view.run.link import ViewLink, with_view
    from mlink.view.server import Address

    no_control, repeatable = _no_control(bench, options, wanted=control)
    commanded = [] if no_control and not repeatable else commandable(bench, repeatable=repeatable)
    if repeatable and control and not commanded:
        raise BenchError(
            f"{no_control}, and this bench has no scripts",
            remedy="Leave --view-control out, or run in real time without --replayable.",
        )
    with ViewLink(
        bench,
        address or Address(),
        view,
        duration_s=options.duration_s,
        served_at=served_at,
        commanded=commanded,
        no_control=no_control,
    ) as link:
        if served_at is None:
            view.console.print(f"View: {link.url}", soft_wrap=True, markup=False)
            view.console.print(f"  to look only: {link.guest_url}", soft_wrap=True, markup=False)
            open_in_browser(link.url)
        steps = None
        if options.virtual is not None:
            steps = link.steps_of(bench, lambda: engine.simulation, stands=paused)
            options = replace(options, participant=steps.participant)
        engine = Engine(with_view(bench, link, commanded=commanded), options, link)
        link.on_stop = engine.request_stop
        result = engine.run()
        link.conclude(result)
        return result


def _no_control(bench: Bench, options: RunOptions, *, wanted: bool | None) -> tuple[str, bool]:
    """Return why pages may command nothing, and whether they may what a replay repeats, even so."""
    if not (bench.view_control if wanted is None else wanted):
        why = "commands are not allowed: `mlink run --view-control`, or [view] control = true"
        return why, False
    if options.virtual is not None:
        return "in virtual time pages may set values of scripts alone", True
    if options.journal:
        return "a run with --replayable takes no commands but values of scripts, as a replay", True
    return "", False


def open_in_browser(url: str) -> None:
    """Open a page where there is a desktop.

    The arguments of a browser's program are visible to all users, and must not have the token: it
    gets a file of this user alone that leads to the page, for the time that a browser needs.
    """
    opener = shutil.which("xdg-open")
    if opener is None or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    folder = tempfile.mkdtemp(prefix="mlink-view-")
    page = Path(folder) / "open.html"
    page.write_text(f'<meta http-equiv="refresh" content="0; url={url}">\n')
    subprocess.Popen(
        [opener, str(page)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
