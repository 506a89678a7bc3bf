"""The paths that the program serves: the page with its parts, and its WebSocket."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mlink.view.client import Client
from mlink.view.guard import HEADERS, Guard
from mlink.view.state import RunState

PAGE = Path(__file__).parent / "page"
MAX_CLIENTS = 32
"""Pages at a time."""
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_NO_ENTRY = (
    "This page needs the whole address that `mlink run --view` has printed, with its token.\n"
    "Copy it from the terminal again.\n"
)


def make_app(state: RunState, guard: Guard) -> ASGIApp:
    """Return the application for one run.

    Args:
        state: The run.
        guard: Decides who may use it.
    """
    parts = {path.name: path for path in PAGE.iterdir() if path.suffix in _TYPES}
    clients: set[Client] = set()

    async def page(request: Request) -> Response:
        token = request.query_params.get("token")
        if token is not None:
            if guard.role_of(token) is None:
                return PlainTextResponse(_NO_ENTRY, 403)
            # No redirection: after a link of another site it would come without this cookie.
            return _file(parts["index.html"], {"Set-Cookie": guard.cookie(token)})
        if guard.role_of_cookie(request.headers.get("cookie")) is None:
            return PlainTextResponse(_NO_ENTRY, 401)
        return _file(parts["index.html"])

    async def part(request: Request) -> Response:
        if guard.role_of_cookie(request.headers.get("cookie")) is None:
            return PlainTextResponse(_NO_ENTRY, 401)
        path = parts.get(request.path_params["name"])
        return PlainTextResponse("there is no such file\n", 404) if path is None else _file(path)

    async def live(socket: WebSocket) -> None:
        role = guard.role_of_cookie(socket.headers.get("cookie"))
        if role is None or not guard.is_origin(socket.headers.get("origin"), needed=True):
            await socket.close(1008)
            return
        await socket.accept()
        if len(clients) >= MAX_CLIENTS:
            await socket.close(1013, "too many pages show this run")
            return
        client = Client(socket, state, role)
        clients.add(client)
        try:
            await client.serve()
        finally:
            clients.discard(client)

    routes = [
        Route("/", page),
        Route("/page/{name}", part),
        WebSocketRoute("/live/1", live),
    ]
    return _Guarded(Starlette(routes=routes), guard)


def _file(path: Path, headers: dict[str, str] | None = None) -> Response:
    return FileResponse(path, headers=headers, media_type=_TYPES[path.suffix])


class _Guarded:
    """Refuses requests to other hosts and of other origins; adds the headers of every answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = self._guard.is_origin(headers.get("origin"), needed=False)
        if not self._guard.is_host(headers.get("host")) or not origin:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("this is not the page's address\n", 421)(
                    scope, receive, send
                )
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found[name] = value
            await send(message)

        await self._app(scope, receive, with_headers)
