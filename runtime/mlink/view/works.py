"""What a page lets be done with a recording: downloads, and commands of mlink in their own process.

A page that goes ends its download; a verification, a repair or an export goes on until its end, or
until somebody cancels it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from mlink.errors import MlinkError, StorageError
from mlink.storage.failures import storage_errors
from mlink.view.app import Pages, as_json, request_of, whole_number
from mlink.view.guard import Guard
from mlink.view.recordings.archive import Head
from mlink.view.recordings.library import MANIFEST, Library

_MOST_WORKS, _KEPT_WORKS = 2, 12
_MOST_DOWNLOADS = 2
_LONGEST_S = 6 * 3600.0
"""How long a work may take."""
_END_S = 10.0
"""How long a work may take to end when it is canceled."""
_LINES, _LINE_BYTES = 300, 2_000
_PIECE_BYTES = 1 << 16
_LIST_S, _STALLED_S = 120.0, 60.0
"""How long the list of a download may take, and a page may take nothing of it."""
_PROGRESS = re.compile(r"(\d+) of (\d+): (.*)", re.DOTALL)


class Begin(msgspec.Struct, forbid_unknown_fields=True):
    """Begin a work on a recording."""

    of: str
    """The recording."""
    what: Literal["verify", "repair", "export"]
    decode: bool = False
    """Of verify: whether every picture is decoded."""
    form: Literal["csv", "parquet", "nwb", "mat", "rrd", "mp4"] = "csv"
    """Of export."""


class Cancel(msgspec.Struct, forbid_unknown_fields=True):
    """End a work."""

    number: int


class Work:
    """A command of mlink that works on a recording.

    Args:
        number: Its number on the page.
        begin: What was asked for.
        out: Folder of an export, which is there already, empty.
        process: The command.
    """

    def __init__(self, number: int, begin: Begin, out: Path | None, process: Process) -> None:
        self.number, self.begin, self.out = number, begin, out
        self._process = process
        self._began_s, self._ended_s = time.monotonic(), 0.0
        self._canceled = False
        self._progress = ("", 0, 0)
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._count = 0
        self._ending: asyncio.Task[None] | None = None

    @property
    def lasts(self) -> bool:
        """Whether it has not ended."""
        return not self._ended_s

    async def serve(self) -> None:
        """Read what the command prints until it ends."""
        out, errors = self._process.stdout, self._process.stderr
        assert out is not None
        assert errors is not None
        reading = asyncio.gather(_lines(out, self._line), _lines(errors, self._tell))
        try:
            async with asyncio.timeout(_LONGEST_S):
                await reading
                await self._process.wait()
        except TimeoutError:
            self._line(f"it took more than {_LONGEST_S / 3600:g} h")
            await self.cancel()
        if self.out is not None and (self._canceled or not any(self.out.iterdir())):
            await asyncio.to_thread(shutil.rmtree, self.out, ignore_errors=True)
            self.out = None
        self._ended_s = time.monotonic()

    def _tell(self, text: str) -> None:
        if found := _PROGRESS.fullmatch(text):
            self._progress = found[3], int(found[1]), int(found[2])
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        self._count += 1
        self._lines.append(text)

    async def cancel(self) -> None:
        """End it, as Ctrl-C does; kill it when that takes too long."""
        if self._process.returncode is not None or self._canceled:
            return
        self._canceled = True
        self._process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def shown(self) -> dict[str, Any]:
        """Return what a page shows of it."""
        text, number, count = self._progress
        left_out = self._count - len(self._lines)
        return {
            "number": self.number,
            "of": self.begin.of,
            "what": self.begin.what,
            "form": self.begin.form if self.begin.what == "export" else "",
            "code": None if self.lasts else self._process.returncode,
            "canceled": self._canceled,
            "elapsed_s": round((self._ended_s or time.monotonic()) - self._began_s, 1),
            "part": text,
            "part_number": number,
            "part_count": count,
            "lines": [*([f"… {left_out} lines left out …"] if left_out else []), *self._lines],
            "folder": "" if self.out is None else str(self.out),
        }


class Works:
    """Answers what pages ask to be done with recordings.

    Args:
        library: The recordings.
        guard: Decides who may begin a work.
        out: Folder for the folders of exports.
    """

    def __init__(self, library: Library, guard: Guard, out: Path) -> None:
        self._library = library
        self._guard = guard
        self._out = out
        self._works: dict[int, Work] = {}
        self._beginning: list[str] = []
        """Recordings of works whose process is being started."""
        self._serving: set[asyncio.Task[None]] = set()
        self._count = self._downloads = 0

    def routes(self, pages: Pages) -> list[BaseRoute]:
        """Return its paths."""
        return [
            Route("/recording/works", pages.guarded(self._shown)),
            Route("/recording/download", pages.guarded(self._download)),
            Route("/recording/begin", pages.guarded(self._begin), methods=["POST"]),
            Route("/recording/cancel", pages.guarded(self._cancel), methods=["POST"]),
        ]

    async def close(self) -> None:
        """End all works."""
        lasting = [work for work in self._works.values() if work.lasts]
        await asyncio.gather(*(work.cancel() for work in lasting))
        await asyncio.gather(*self._serving, return_exceptions=True)

    # -- works -----------------------------------------------------------------------------------

    async def _shown(self, request: Request) -> Response:
        of = request.query_params.get("of", ".")
        works = [work.shown() for work in self._works.values() if work.begin.of == of]
        role = self._guard.role_of_cookie(request.headers.get("cookie"))
        return as_json({"role": role.value if role else "guest", "works": works[::-1]})

    async def _begin(self, request: Request) -> Response:
        begin = await request_of(request, self._guard, Begin)
        path = self._library.path(begin.of, needs=MANIFEST)
        lasting = [work.begin.of for work in self._works.values() if work.lasts] + self._beginning
        if len(lasting) >= _MOST_WORKS or begin.of in lasting:
            what = f"{_MOST_WORKS} at a time, and one of a recording"
            raise MlinkError(f"this page does {what}", remedy="Wait, or cancel one.")
        number = self._count = self._count + 1
        arguments, out = [begin.what, str(path), "--progress"], None
        if begin.what == "export":
            out = self._new_folder(f"{path.name}-{begin.form}")
            arguments += [f"--to={begin.form}", f"--out={out}"]
        elif begin.what == "verify" and begin.decode:
            arguments.append("--decode")
        self._beginning.append(begin.of)
        try:
            process = await _process("mlink", *arguments, errors=PIPE)
        finally:
            self._beginning.remove(begin.of)
        work = self._works[number] = Work(number, begin, out, process)
        serving = asyncio.create_task(self._serve(work))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        for old in [each for each, of in self._works.items() if not of.lasts][:-_KEPT_WORKS]:
            del self._works[old]
        return as_json({"number": number})

    async def _serve(self, work: Work) -> None:
        try:
            await work.serve()
        finally:
            if work.begin.what == "repair":
                self._library.forget(work.begin.of)

    async def _cancel(self, request: Request) -> Response:
        cancel = await request_of(request, self._guard, Cancel)
        if cancel.number not in self._works:
            raise MlinkError(f"there is no work {cancel.number}")
        await self._works[cancel.number].cancel()
        return as_json({})

    def _new_folder(self, name: str) -> Path:
        """Return a new folder for an export, which no other export has written to."""
        for number in range(1, 100):
            out = self._out / (name if number == 1 else f"{name}-{number}")
            try:
                with storage_errors(out, "create"):
                    out.mkdir()
            except StorageError as error:
                if isinstance(error.__cause__, FileExistsError):
                    continue
                raise
            return out
        raise MlinkError(f"there are 99 folders {name} already", remedy="Remove old exports.")

    # -- downloads -------------------------------------------------------------------------------

    async def _download(self, request: Request) -> Response:
        given = request.query_params
        if request.method != "GET":
            return PlainTextResponse("a download is asked for by GET\n", 405)
        if "work" in given:
            work = self._works.get(whole_number(given["work"]))
            if work is None or work.lasts or work.out is None:
                raise MlinkError("this export is not there", remedy="Export it again.")
            path, part = work.out, ""
        else:
            path = self._library.path(given.get("of", "."), needs=MANIFEST)
            part = given.get("part", "")
        if "\0" in part:
            raise MlinkError("there is no such dataset in the recording")
        if self._downloads >= _MOST_DOWNLOADS:
            raise MlinkError(f"{_MOST_DOWNLOADS} downloads last already", remedy="Wait for one.")
        self._downloads += 1
        process = None
        try:
            arguments = [str(path), path.name, *([part] if part else [])]
            process = await _process("mlink.view.recordings.archive", *arguments, errors=None)
            assert process.stdout is not None
            async with asyncio.timeout(_LIST_S):
                head = await process.stdout.readline()
            found = msgspec.json.decode(head, type=Head)
            if found.error:
                raise MlinkError(found.error, remedy=found.remedy)
        except BaseException as error:
            await self._ended(process)
            if isinstance(error, TimeoutError | msgspec.MsgspecError | ValueError):
                raise MlinkError("the files of this folder cannot be listed") from None
            raise
        if given.get("only") == "length":
            await self._ended(process)
            return as_json({"length": found.length})
        name = path.name + ("-" + part.replace("/", "-") if part else "")
        return _Download(process, found.length, name, lambda: self._ended(process))

    async def _ended(self, process: Process | None) -> None:
        self._downloads -= 1
        if process is not None:
            if process.returncode is None:
                process.kill()
            if process.stdout is not None:
                await process.stdout.read()  # the little that is in its pipe, which then closes
            await process.wait()


class _Download(Response):
    """An archive as it is made. It ends early where that is incomplete: browsers see its length."""

    def __init__(self, process: Process, length: int, name: str, on_end: Callable[[], Any]) -> None:
        kept = quote(f"{name}.tar", safe="", errors="replace")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{kept}"}
        super().__init__(None, headers=headers, media_type="application/x-tar")
        self.headers["content-length"] = str(length)
        self._process = process
        self._left = length
        self._on_end = on_end

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the archive until all of it is sent, it ends, or the page has gone."""
        pouring = asyncio.create_task(self._pour(send))
        going = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({pouring, going}, return_when=asyncio.FIRST_COMPLETED)
            if pouring.done() and isinstance(pouring.exception(), TimeoutError):
                sys.stderr.write(f"a download was broken off: nothing moved for {_STALLED_S:g} s\n")
        finally:
            for task in (pouring, going):
                task.cancel()
            await asyncio.gather(pouring, going, return_exceptions=True)
            await self._on_end()

    async def _pour(self, send: Send) -> None:
        out = self._process.stdout
        assert out is not None
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        while self._left:
            async with asyncio.timeout(_STALLED_S):
                data = await out.read(min(self._left, _PIECE_BYTES))
                if not data:
                    return  # incomplete: the connection is closed before its announced end
                self._left -= len(data)
                more = self._left > 0
                await send({"type": "http.response.body", "body": data, "more_body": more})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _process(module: str, *arguments: str, errors: int | None) -> Process:
    return await asyncio.create_subprocess_exec(
        "nice", "-n", "10", sys.executable, "-m", module, *arguments,
        stdin=DEVNULL, stdout=PIPE, stderr=errors, limit=_PIECE_BYTES,
        process_group=0,  # Ctrl-C is for the program of the page, which ends them
    )  # fmt: skip


async def _lines(stream: asyncio.StreamReader, take: Callable[[str], object]) -> None:
    """Take each line, cut to its longest, until the stream ends."""
    rest = b""
    while data := await stream.read(_PIECE_BYTES):
        *found, rest = (rest + data).split(b"\n")
        for line in found:
            take(line[:_LINE_BYTES].decode(errors="replace"))
        rest = rest[:_LINE_BYTES]
    if rest:
        take(rest.decode(errors="replace"))
