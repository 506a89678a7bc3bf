"""The server of `mlink view`: a recording, or what is below a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlink.errors import MlinkError
from mlink.view.app import make_app
from mlink.view.guard import Guard, new_tokens
from mlink.view.home import Home
from mlink.view.recordings.library import Library
from mlink.view.server import Address, make_server
from mlink.view.works import Works


async def serve_folder(
    root: Path,
    address: Address,
    on_ready: Callable[[str, str], None],
    *,
    is_recording: bool,
    on_end: Callable[[int], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        root: A recording, or a folder; nothing outside of it is served.
        address: Where to serve.
        is_recording: Whether it is a recording.
        on_end: Called when the page has ended, with the number of its runs that last: these are
            stopped.
        on_ready: Called with the two links, the second one to look only.

    Raises:
        MlinkError: The address cannot be used.
    """
    try:
        listener = address.listen()
    except OSError as error:
        raise MlinkError(
            f"cannot listen at {address.host}:{address.port}: {error.strerror}",
            remedy="Choose another port: --at HOST:PORT.",
        ) from None
    port = int(listener.getsockname()[1])
    tokens = new_tokens()
    guard = Guard(tokens, port, address.names, secure=bool(address.certificate))
    library = Library(root)
    home = None if is_recording else Home(library, guard)
    works = Works(library, guard, Path.cwd() if home is None else root)
    front = "recording.html" if home is None else "home.html"
    more = [works.routes, *([] if home is None else [home.routes])]
    app = make_app(guard, front, library=library, routes=more)
    server = make_server(app, address)
    on_ready(address.url(port, tokens.owner), address.url(port, tokens.guest))
    try:
        await server.serve([listener])
    finally:
        await works.close()
        library.close()
        if home is not None:
            on_end(home.lasting)
            home.close()
