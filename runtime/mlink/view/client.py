"""One page: what it watches, and what waits for it.

A page that reads slowly gets the newest: one snapshot of the status, at most 4,000 items of a
stream (those left out are counted), and a picture only after it has shown the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from mlink.view.guard import Role
from mlink.view.messages import (
    FARTHEST,
    VERSION,
    Act,
    Acted,
    Batch,
    Begins,
    Ended,
    FeedBegins,
    FromRun,
    Gone,
    Items,
    LogLine,
    Look,
    Looked,
    Picture,
    Status,
    Step,
    Stood,
)
from mlink.view.state import RunState
from mlink.view.wire import packed_picture

_WAITING_ITEMS = 4_000
_WAITING_LINES = 500
_WATCHED = 16
"""Pictures that one page may watch."""
_PICTURE_S = 1 / 20
"""Shortest time between two pictures of a stream."""
_ASK_S = 0.5
"""A picture is asked for again, where no frame came."""
_REQUESTS_PER_S = 200
_ACTS_PER_S = 20
"""Commands of one page."""
_WAITING_ACTS = 200


_Number = Annotated[int, msgspec.Meta(ge=-FARTHEST, le=FARTHEST)]
_Text = Annotated[str, msgspec.Meta(max_length=300)]


class Watch(msgspec.Struct, tag="watch", tag_field="kind"):
    """Show pictures of these streams: name → greatest width in pixels; of no others."""

    pictures: dict[str, int]


class Shown(msgspec.Struct, tag="shown", tag_field="kind"):
    """The last picture of a stream has been shown: the next one may come."""

    stream: str


class StopRun(msgspec.Struct, tag="stop", tag_field="kind"):
    """Stop the run, as a success."""


class Command(msgspec.Struct, tag="act", tag_field="kind"):
    """Command a module: the fields of `messages.Act`, without who gives it."""

    target: _Text
    command: _Text
    line: _Number = 0
    value: _Number = 0
    duration_usec: _Number = 0
    text: _Text = ""


Request = Watch | Shown | StopRun | Step | Look | Command
_decode: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_encode = msgspec.json.Encoder().encode


class Client:
    """Serves one WebSocket until it closes.

    Args:
        socket: The connection, accepted.
        state: The run.
        role: What the page may do.
        more: What else the page is sent at first.
    """

    def __init__(
        self, socket: WebSocket, state: RunState, role: Role, more: dict[str, str]
    ) -> None:
        self._more = more
        self._socket = socket
        self._state = state
        self._role = role
        self._wake = asyncio.Event()
        self._once: dict[str, Begins | Status | Ended | Gone | FeedBegins | Stood | Looked] = {}
        """Kind → the newest message of those of which only the newest counts."""
        self._lines: list[LogLine] = []
        self._lines_left_out = 0
        self._acts: deque[Acted] = deque(maxlen=_WAITING_ACTS)
        self._acts_s: deque[float] = deque(maxlen=_ACTS_PER_S)
        """When the last commands were given."""
        self._items: dict[str, list[Items]] = {}
        self._time_usec = 0
        self._pictures: dict[str, Picture] = {}
        self._widths: dict[str, int] = {}
        self._ready: set[str] = set()
        """Watched streams whose last picture has been shown."""
        self._last_s: dict[str, float] = {}
        """Stream → when its last picture was sent."""

    async def serve(self) -> None:
        """Send until the page or the program goes."""
        end = self._state.observe(self._take)
        receiving = asyncio.create_task(self._receive())
        receiving.add_done_callback(lambda _: self._wake.set())
        try:
            welcome = {
                "kind": "Welcome",
                "version": VERSION,
                "role": self._role.value,
                **self._more,
                **self._state.snapshot(),
            }
            await self._send(welcome)
            while not receiving.done():
                await self._send_waiting()
                self._ask_for_pictures()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _ASK_S)
                self._wake.clear()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it has gone
        finally:
            end()
            receiving.cancel()

    # -- from the run ------------------------------------------------------------------------------

    def _take(self, message: FromRun) -> None:
        if isinstance(message, Batch):
            self._time_usec = message.time_usec
            for items in message.items:
                self._keep(items)
        elif isinstance(message, LogLine):
            self._lines.append(message)
            if len(self._lines) > _WAITING_LINES:
                del self._lines[0]
                self._lines_left_out += 1
        elif isinstance(message, Acted):
            self._acts.append(message)
        elif isinstance(message, Picture):
            stream = message.stream
            if stream not in self._ready or self._widths.get(stream) != message.width:
                return
            self._pictures[stream] = message
        else:
            self._once[type(message).__name__] = message
        self._wake.set()

    def _keep(self, items: Items) -> None:
        waiting = self._items.setdefault(items.stream, [])
        waiting.append(items)
        while len(waiting) > 1 and sum(each.length for each in waiting) > _WAITING_ITEMS:
            first = waiting.pop(0)
            waiting[0].missed += first.missed + first.length
            waiting[0].count += first.count

    # -- to the page -------------------------------------------------------------------------------

    async def _send_waiting(self) -> None:
        once, self._once = self._once, {}
        for message in once.values():
            await self._send(message)
        if self._lines:
            lines, self._lines = self._lines, []
            left_out, self._lines_left_out = self._lines_left_out, 0
            await self._send({"kind": "Log", "lines": lines, "left_out": left_out})
        while self._acts:
            await self._send(self._acts.popleft())
        if self._items:
            waiting, self._items = self._items, {}
            items = [each for of_stream in waiting.values() for each in of_stream]
            await self._send(Batch(self._time_usec, items))
        pictures, self._pictures = self._pictures, {}
        for stream, picture in pictures.items():
            self._ready.discard(stream)
            self._last_s[stream] = asyncio.get_running_loop().time()
            await self._socket.send_bytes(packed_picture(picture))

    async def _send(self, message: FromRun | dict[str, Any]) -> None:
        await self._socket.send_text(_encode(message).decode())

    def _ask_for_pictures(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for stream in self._ready:
            left_s = self._last_s.get(stream, 0.0) + _PICTURE_S - now_s
            if left_s > 0:
                asyncio.get_running_loop().call_later(left_s, self._wake.set)
            else:
                self._state.want(stream, self._widths[stream])

    # -- from the page -----------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Handle requests until the page goes, or sends what is none."""
        loop = asyncio.get_running_loop()
        count, since_s = 0, loop.time()
        while True:
            text = await self._socket.receive_text()
            if loop.time() - since_s >= 1.0:
                count, since_s = 0, loop.time()
            count += 1
            if count > _REQUESTS_PER_S:
                await self._refuse("too many requests")
                return
            try:
                request = _decode.decode(text)
            except msgspec.MsgspecError as error:
                await self._refuse(str(error))
                return
            self._handle(request)

    async def _refuse(self, why: str) -> None:
        await self._socket.close(code=1008, reason=why[:100])

    def _handle(self, request: Request) -> None:
        if isinstance(request, Watch):
            before, self._widths = self._widths, dict(list(request.pictures.items())[:_WATCHED])
            self._ready &= self._widths.keys()
            self._ready |= {
                name for name, width in self._widths.items() if before.get(name) != width
            }
        elif isinstance(request, Shown):
            if request.stream in self._widths:
                self._ready.add(request.stream)
        elif isinstance(request, Step | Look):
            self._step(request)
        elif isinstance(request, Command):
            self._act(request)
        elif self._role is Role.OWNER:
            self._state.stop("stopped from the view")
        self._wake.set()

    def _step(self, request: Step | Look) -> None:
        """Pass a step on; tell this page alone if it is refused here."""
        refused = "this page may only look"
        if self._role is Role.OWNER:
            refused = self._state.step(request)
        if refused:
            stood = self._state.stood or Stood(time_usec=self._time_usec, stands=False)
            self._once["Stood"] = msgspec.structs.replace(stood, error=refused, remedy="")

    def _act(self, request: Command) -> None:
        """Pass a command on; answer this page alone if it is refused here."""
        fields = {name: getattr(request, name) for name in request.__struct_fields__}
        host = self._socket.client.host if self._socket.client else "?"
        act = Act(**fields, by=f"{self._role.value} at {host}")
        now_s = asyncio.get_running_loop().time()
        if self._role is not Role.OWNER:
            refused = "this page may only look"
        elif len(self._acts_s) == _ACTS_PER_S and now_s - self._acts_s[0] < 1.0:
            refused = f"more than {_ACTS_PER_S} commands in a second"
        else:
            self._acts_s.append(now_s)
            refused = ""
        if refused := self._state.act(act, refused):
            self._acts.append(Acted(act, self._time_usec, refused=refused))
