"""Benches and recordings below a folder, and the runs that a page starts.

Everything that runs or examines something is a command of mlink in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mlink.errors import MlinkError
from mlink.view.app import Pages, as_json
from mlink.view.guard import Guard, Role
from mlink.view.library import Library

_COMMAND_S = 120.0
_ENDING_S = 150.0
"""How long runs may take to close their files when the page's program ends."""
_MOST_FOLDERS, _MOST_BENCHES, _MOST_RUNS = 20_000, 200, 4
_READ_BYTES, _LONGEST_REQUEST = 1 << 20, 65_536
_BENCH = re.compile(rb"^\s*\[\s*modules\s*\.", re.MULTILINE)
_URL = re.compile(r"https?://\S+/\?token=\S+")
LISTS = {"recordings": "list", "devices": "devices", "doctor": "doctor"}
"""What a page asks for, and the command that gives it as JSON."""


class Start(msgspec.Struct, forbid_unknown_fields=True):
    """Start a run."""

    bench: str
    for_s: float | None = None
    subject: str = ""
    settings: list[str] = []
    """Each "module.key=value"."""


class Stop(msgspec.Struct, forbid_unknown_fields=True):
    """End a run as a success."""

    number: int


class Run:
    """A run that a page has started.

    Args:
        number: Its number on the page.
        bench: Path of the bench below the folder.
        arguments: Of `mlink run`.
        folder: The working folder.
    """

    def __init__(self, number: int, bench: str, arguments: list[str], folder: Path) -> None:
        self._number = number
        self._bench = bench
        self._urls: list[str] = []
        self._lines: deque[str] = deque(maxlen=12)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlink", "run", *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
            process_group=0,  # Ctrl-C is for the program of the page, which stops its runs
        )  # fmt: skip
        threading.Thread(target=self._read, name=f"run {number}", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if len(self._urls) < 2 and (url := _URL.search(line)) is not None:
                self._urls.append(url[0])
            else:
                self._lines.append(line.rstrip()[:500])
        self._process.stdout.close()
        self._process.wait()

    @property
    def lasts(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def shown(self, role: Role) -> dict[str, Any]:
        """Return what the page of somebody shows of it."""
        urls = self._urls if self.lasts else []
        return {
            "number": self._number,
            "bench": self._bench,
            "code": self._process.poll(),
            "url": urls[role is Role.GUEST] if len(urls) == 2 else "",
            "lines": list(self._lines),
        }

    def stop(self) -> None:
        """Let it end as with Ctrl-C."""
        if self.lasts:
            self._process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        """Wait until it has ended; kill it when that takes too long."""
        try:
            self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Home:
    """Answers the page of a folder.

    Args:
        library: The folder.
        guard: Decides who may start and stop runs.
        view: Options of `mlink run` that serve the page of a run.
    """

    def __init__(self, library: Library, guard: Guard, view: list[str]) -> None:
        self._library = library
        self._guard = guard
        self._view = view
        self._runs: dict[int, Run] = {}
        self._turn = asyncio.Semaphore(2)

    def routes(self, pages: Pages) -> list[BaseRoute]:
        """Return its paths."""
        return [
            Route("/home/benches", pages.guarded(self._benches)),
            Route("/home/runs", pages.guarded(self._shown_runs)),
            Route("/home/check", pages.guarded(self._check)),
            Route("/home/list/{what}", pages.guarded(self._list)),
            Route("/home/start", pages.guarded(self._start), methods=["POST"]),
            Route("/home/stop", pages.guarded(self._stop), methods=["POST"]),
        ]

    def close(self) -> None:
        """End the runs, and wait until they have closed their files."""
        for run in self._runs.values():
            run.stop()
        for run in self._runs.values():
            run.wait()

    # -- what there is ---------------------------------------------------------------------------

    async def _benches(self, request: Request) -> Response:
        found = await asyncio.to_thread(benches_below, self._library.root)
        return as_json(
            {"folder": str(self._library.root), "role": self._role(request).value, "benches": found}
        )

    async def _shown_runs(self, request: Request) -> Response:
        role = self._role(request)
        return as_json([run.shown(role) for run in reversed(self._runs.values())])

    async def _check(self, request: Request) -> Response:
        bench = request.query_params.get("bench", "")
        self._library.path(bench)
        code, text = await self._command("check", f"./{bench}")
        return as_json({"ok": code == 0, "text": text.strip()[:4000]})

    async def _list(self, request: Request) -> Response:
        command = LISTS.get(request.path_params["what"])
        if command is None:
            raise MlinkError("there is no such list")
        folder = ["."] if command == "list" else []
        code, text = await self._command(command, *folder, "--json")
        if code:
            raise MlinkError(text.strip()[:4000])
        return Response(text, media_type="application/json")

    async def _command(self, *arguments: str) -> tuple[int, str]:
        """Return exit code and output of a command of mlink; of a failure with its errors."""

        def run() -> tuple[int, str]:
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "mlink", *arguments],
                    cwd=self._library.root, stdin=subprocess.DEVNULL, capture_output=True,
                    encoding="utf-8", errors="replace", timeout=_COMMAND_S, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return 1, f"mlink {arguments[0]} took more than {_COMMAND_S:g} s"
            return done.returncode, done.stdout + (done.stderr if done.returncode else "")

        async with self._turn:
            return await asyncio.to_thread(run)

    # -- runs ------------------------------------------------------------------------------------

    async def _start(self, request: Request) -> Response:
        start = _request(await self._body(request), Start)
        if not _is_bench(self._library.path(start.bench)):
            raise MlinkError(f"'{start.bench}' is no bench")
        if sum(run.lasts for run in self._runs.values()) >= _MOST_RUNS:
            raise MlinkError(f"{_MOST_RUNS} runs last already", remedy="Stop one of them first.")
        arguments = [f"./{start.bench}", "--plain", *self._view]
        if start.for_s is not None:
            arguments.append(f"--for={start.for_s}")
        if start.subject:
            arguments.append(f"--subject={start.subject}")
        arguments += [f"--set={setting}" for setting in start.settings]
        if any("\0" in each for each in arguments):
            raise MlinkError("there is a character in it that no argument can have")
        number = len(self._runs) + 1
        self._runs[number] = Run(number, start.bench, arguments, self._library.root)
        return as_json({"number": number})

    async def _stop(self, request: Request) -> Response:
        stop = _request(await self._body(request), Stop)
        if stop.number not in self._runs:
            raise MlinkError(f"there is no run {stop.number}")
        self._runs[stop.number].stop()
        return as_json({})

    async def _body(self, request: Request) -> bytes:
        """Return what a page has sent, if it may change anything."""
        own = self._guard.is_origin(request.headers.get("origin"), needed=True)
        if not own or self._role(request) is not Role.OWNER:
            raise MlinkError("this page may only look", remedy="Open the first address of mlink.")
        data = b""
        async for piece in request.stream():
            data += piece
            if len(data) > _LONGEST_REQUEST:
                raise MlinkError(f"a request has at most {_LONGEST_REQUEST:,} bytes")
        return data

    def _role(self, request: Request) -> Role:
        return self._guard.role_of_cookie(request.headers.get("cookie")) or Role.GUEST


def _request(data: bytes, kind: Any) -> Any:
    """Return a request of a page.

    Raises:
        MlinkError: It is none.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise MlinkError(f"this is no request: {error}") from None


def benches_below(root: Path) -> list[str]:
    """Return the paths of the bench files below a folder, relative to it, in order."""
    found: list[str] = []
    for count, (path, folders, files) in enumerate(os.walk(root)):
        hidden = {each for each in folders if each.startswith(".")} | {"node_modules"}
        folders[:] = [] if "manifest.toml" in files else sorted({*folders} - hidden)
        for name in sorted(files):
            file = Path(path) / name
            if name.endswith(".toml") and name.isprintable() and _is_bench(file):
                found.append(file.relative_to(root).as_posix())
        if count >= _MOST_FOLDERS or len(found) >= _MOST_BENCHES:
            break
    return found[:_MOST_BENCHES]


def _is_bench(file: Path) -> bool:
    try:
        if file.is_symlink() or not file.is_file():
            return False
        with file.open("rb") as opened:
            return _BENCH.search(opened.read(_READ_BYTES)) is not None
    except OSError:
        return False
