"""The paths that are served: pages with their parts, runs by WebSocket, recordings by HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mlink.errors import MlinkError
from mlink.view.client import Client
from mlink.view.guard import HEADERS, Guard, Role
from mlink.view.messages import FARTHEST
from mlink.view.recordings.library import Library
from mlink.view.recordings.reader import Ask
from mlink.view.state import RunState

PAGE = Path(__file__).parent / "page"
MAX_CLIENTS = 32
"""Pages at a time."""
_LONGEST_REQUEST = 65_536
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_ELSEWHERE = ("cross-site", "same-site")
"""Pages of other servers; those of this computer at another port have our cookie, too."""
_NO_ENTRY = (
    "This page needs the whole address that mlink has printed, with its token.\n"
    "Copy it from the terminal again.\n"
)

_T = TypeVar("_T")
Endpoint = Callable[[Request], Awaitable[Response]]
LiveEndpoint = Callable[[WebSocket], Awaitable[None]]


class Pages:
    """Serves the parts of pages to who has a token.

    Args:
        guard: Decides who may see them.
        folder: The folder of `mlink view`; "" for the page of one run.
    """

    def __init__(self, guard: Guard, folder: str = "") -> None:
        self._guard = guard
        self._folder = folder
        self._clients: set[Client] = set()
        self._parts = {path.name: path for path in PAGE.iterdir() if path.suffix in _TYPES}

    def page(self, name: str) -> Endpoint:
        """Return what serves a page; with a token in its address it gives the cookie."""

        async def serve(request: Request) -> Response:
            token = request.query_params.get("token")
            if token is not None:
                if self._guard.role_of(token) is None:
                    return PlainTextResponse(_NO_ENTRY, 403)
                # No redirection: after a link of another site it would come without this cookie.
                return self._file(name, {"Set-Cookie": self._guard.cookie(token)})
            return self._file(name)

        return self.guarded(serve, also_by_token=True)

    def guarded(self, serve: Endpoint, *, also_by_token: bool = False) -> Endpoint:
        """Return what serves only those with a cookie; an error is answered in words."""

        async def guarded(request: Request) -> Response:
            by_token = also_by_token and "token" in request.query_params
            if not by_token and self._guard.role_of_cookie(request.headers.get("cookie")) is None:
                return PlainTextResponse(_NO_ENTRY, 401)
            if not also_by_token and request.headers.get("sec-fetch-site") in _ELSEWHERE:
                return PlainTextResponse("another page asks for this\n", 403)
            try:
                return await serve(request)
            except MlinkError as error:
                return as_json({"error": error.message, "remedy": error.remedy}, 400)

        return guarded

    async def part(self, request: Request) -> Response:
        """Serve a script, a style or the icon."""
        return self._file(request.path_params["name"])

    def live(self, state_of: Callable[[WebSocket], RunState | None]) -> LiveEndpoint:
        """Return what shows a run to those with a cookie; `state_of` finds the one of a request."""

        async def live(socket: WebSocket) -> None:
            role = self._guard.role_of_cookie(socket.headers.get("cookie"))
            own = self._guard.is_origin(socket.headers.get("origin"), needed=True)
            if role is None or not own or (state := state_of(socket)) is None:
                await socket.close(1008)
                return
            await socket.accept()
            if len(self._clients) >= MAX_CLIENTS:
                await socket.close(1013, "too many pages show runs")
                return
            more = {"folder": self._folder, "guest_token": self._guard.guest_token}
            client = Client(socket, state, role, more)
            self._clients.add(client)
            try:
                await client.serve()
            finally:
                self._clients.discard(client)

        return live

    def _file(self, name: str, headers: dict[str, str] | None = None) -> Response:
        path = self._parts.get(name)
        if path is None:
            return PlainTextResponse("there is no such file\n", 404)
        return FileResponse(path, headers=headers, media_type=_TYPES[path.suffix])


def make_app(
    guard: Guard,
    front: str,
    state: RunState | None = None,
    library: Library | None = None,
    routes: Sequence[Callable[[Pages], Sequence[BaseRoute]]] = (),
) -> ASGIApp:
    """Return the application.

    Args:
        guard: Decides who may use it.
        front: File of the first page.
        state: The run that the pages show.
        library: The recordings that pages may show.
        routes: More paths.
    """
    pages = Pages(guard, "" if library is None else str(library.root))
    found: list[BaseRoute] = [
        Route("/", pages.page(front)),
        Route("/page/{name}", pages.guarded(pages.part)),
        WebSocketRoute("/live/1", pages.live(lambda _socket: state)),
        *(route for each in routes for route in each(pages)),
    ]
    if library is not None:
        found += [
            Route("/recording", pages.page("recording.html")),
            Route("/beside", pages.page("beside.html")),
            Route("/recording/{what}", pages.guarded(_recorded(library))),
        ]
    return _Guarded(Starlette(routes=found), guard)


def _recorded(library: Library) -> Endpoint:
    """Return what answers questions about recordings."""

    async def recorded(request: Request) -> Response:
        what, given = request.path_params["what"], request.query_params
        if what not in ("overview", "part", "picture"):
            return PlainTextResponse("there is no such file\n", 404)
        ask = Ask(
            what,
            given.get("stream", ""),
            *(whole_number(given.get(key, "0")) for key in ("begin", "end", "most")),
        )
        data = await library.reader(given.get("of", ".")).ask(ask)
        kind = "application/octet-stream" if what == "picture" else "application/json"
        return Response(data, media_type=kind)

    return recorded


def whole_number(text: str) -> int:
    """Return a parameter of a request as a number, at most 2^53.

    Raises:
        MlinkError: It is none.
    """
    try:
        return max(-FARTHEST, min(int(text), FARTHEST))
    except ValueError:
        raise MlinkError(f"{text[:40]!r} is no whole number") from None


async def request_of(request: Request, guard: Guard, kind: type[_T]) -> _T:
    """Return what a page asks to be done, if it may have anything done.

    Args:
        request: The HTTP request.
        guard: Decides who may.
        kind: Struct of the request.

    Raises:
        MlinkError: The page may only look, is not our own, or this is no such request.
    """
    own = guard.is_origin(request.headers.get("origin"), needed=True)
    role = guard.role_of_cookie(request.headers.get("cookie"))
    if not own or role is not Role.OWNER:
        raise MlinkError("this page may only look", remedy="Open the first address of mlink.")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _LONGEST_REQUEST:
            raise MlinkError(f"a request has at most {_LONGEST_REQUEST:,} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise MlinkError(f"this is no request: {error}") from None


def as_json(value: object, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


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
