"""Benches and recordings below a folder, and the runs that a page starts.

Everything that runs or examines something is a command of mlink in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from mlink.errors import MlinkError
from mlink.view.app import Pages, as_json, request_of
from mlink.view.guard import Guard, Role
from mlink.view.recordings.library import Library
from mlink.view.state import RunState

_COMMANDS, _COMMAND_S = 2, 120.0
"""Commands that are carried out at a time, besides runs; how long one may take."""
_ENDING_S = 150.0
"""How long runs may take to close their files when the page's program ends."""
_MOST_FOLDERS, _MOST_FILES, _MOST_RUNS = 20_000, 200, 4
_DEEPEST = 32
"""Folders in each other that are searched."""
_KEPT_RUNS = 12
"""Runs whose page is kept; older ones that have ended are forgotten."""
_MOST_STARTS, _STARTS_S = 20, 60.0
"""Runs that may be started within so many s."""
_READ_BYTES = 1 << 20
_BENCH = re.compile(rb"^[ \t]*\[[ \t]*modules[ \t]*\.", re.MULTILINE)
_DEVICES = re.compile(rb"^[ \t]*\[[ \t]*devices[ \t]*\]", re.MULTILINE)
LISTS = {"recordings": "list", "devices": "devices", "doctor": "doctor"}
"""What a page asks for, and the command that gives it as JSON."""


class Start(msgspec.Struct, forbid_unknown_fields=True):
    """Start a run."""

    bench: str
    for_s: float | None = None
    subject: str = ""
    settings: list[str] = []
    """Each "module.key=value"."""
    devices: str = ""
    """A devices file below the folder."""
    control: bool = False
    """Whether pages may command its modules (`--view-control`)."""


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
        state: What its page shows.
        on_end: Called in another thread when its process has ended.
    """

    def __init__(
        self,
        number: int,
        bench: str,
        arguments: list[str],
        folder: Path,
        state: RunState,
        on_end: Callable[[], object],
    ) -> None:
        self.state = state
        self._number = number
        self._bench = bench
        self._on_end = on_end
        self._stopped = False
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
            self._lines.append(line.rstrip()[:500])
        self._process.stdout.close()
        self._process.wait()
        self._on_end()

    @property
    def lasts(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def shown(self) -> dict[str, Any]:
        """Return what the page of the folder shows of it."""
        return {
            "number": self._number,
            "bench": self._bench,
            "code": self._process.poll(),
            "watched": self.state.bench is not None,
            "lines": list(self._lines),
        }

    def stop(self) -> None:
        """Let it end as with Ctrl-C, once: a second one would not wait for its modules."""
        if self.lasts and not self._stopped:
            self._stopped = True
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
    """

    def __init__(self, library: Library, guard: Guard) -> None:
        self._library = library
        self._guard = guard
        self._runs: dict[int, Run] = {}
        self._listening: dict[int, asyncio.Server] = {}
        self._sockets = Path(tempfile.mkdtemp(prefix="mlink-view-"))
        self._count = 0
        self._starting = 0
        self._started_s: deque[float] = deque(maxlen=_MOST_STARTS)
        self._turn = asyncio.Semaphore(_COMMANDS)
        self._starters = ThreadPoolExecutor(_COMMANDS + 1, "starter")
        here = threading.Barrier(_COMMANDS + 2)
        for _ in range(_COMMANDS + 1):
            self._starters.submit(here.wait)
        here.wait()
        os.nice(10)  # pages come after the modules of runs, which those threads start without it

    def routes(self, pages: Pages) -> list[BaseRoute]:
        """Return its paths."""
        return [
            Route("/run/{number:int}", pages.page("index.html")),
            WebSocketRoute("/live/1/{number:int}", pages.live(self._state_of)),
            Route("/home/benches", pages.guarded(self._benches)),
            Route("/home/runs", pages.guarded(self._shown_runs)),
            Route("/home/check", pages.guarded(self._check)),
            Route("/home/list/{what}", pages.guarded(self._list)),
            Route("/home/start", pages.guarded(self._start), methods=["POST"]),
            Route("/home/stop", pages.guarded(self._stop), methods=["POST"]),
        ]

    def close(self) -> None:
        """End the runs, and wait until they have closed their files."""
        lasting = [run for run in self._runs.values() if run.lasts]
        for run in lasting:
            run.stop()
        for run in lasting:
            run.wait()
        for server in self._listening.values():
            server.close()
        self._starters.shutdown()
        shutil.rmtree(self._sockets, ignore_errors=True)

    @property
    def lasting(self) -> int:
        """How many of its runs last."""
        return sum(run.lasts for run in self._runs.values())

    def _state_of(self, socket: WebSocket) -> RunState | None:
        run = self._runs.get(socket.path_params["number"])
        return None if run is None else run.state

    # -- what there is ---------------------------------------------------------------------------

    async def _benches(self, request: Request) -> Response:
        benches, devices, left = await asyncio.to_thread(files_below, self._library.root)
        found = {"folder": str(self._library.root), "role": self._role(request).value}
        return as_json(found | {"benches": benches, "devices": devices, "left": left})

    async def _shown_runs(self, _request: Request) -> Response:
        return as_json([run.shown() for run in reversed(self._runs.values())])

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
            return await asyncio.get_running_loop().run_in_executor(self._starters, run)

    # -- runs ------------------------------------------------------------------------------------

    async def _start(self, request: Request) -> Response:
        start = await request_of(request, self._guard, Start)
        if not _BENCH.search(_text(self._library.path(start.bench))):
            raise MlinkError(f"'{start.bench}' is no bench")
        if self.lasting + self._starting >= _MOST_RUNS:
            raise MlinkError(f"{_MOST_RUNS} runs last already", remedy="Stop one of them first.")
        now_s = asyncio.get_running_loop().time()
        if len(self._started_s) == _MOST_STARTS and now_s - self._started_s[0] < _STARTS_S:
            what = f"{_MOST_STARTS} runs were started within {_STARTS_S:g} s"
            raise MlinkError(what, remedy="Wait a minute.")
        self._started_s.append(now_s)
        self._count = number = self._count + 1
        socket = self._sockets / f"run-{number}"
        arguments = [f"./{start.bench}", "--plain", f"--view-to={socket}"]
        if start.for_s is not None:
            arguments.append(f"--for={start.for_s}")
        if start.subject:
            arguments.append(f"--subject={start.subject}")
        if start.devices:
            if not _DEVICES.search(_text(self._library.path(start.devices))):
                raise MlinkError(f"'{start.devices}' is no devices file")
            arguments.append(f"--devices=./{start.devices}")
        if start.control:
            arguments.append("--view-control")
        arguments += [f"--set={setting}" for setting in start.settings]
        if any("\0" in each for each in arguments):
            raise MlinkError("there is a character in it that no argument can have")
        self._forget()
        loop, state = asyncio.get_running_loop(), RunState()

        def start_it() -> Run:
            def ended() -> None:
                with suppress(RuntimeError):  # the program of the page has ended, too
                    loop.call_soon_threadsafe(state.never_came)

            return Run(number, start.bench, arguments, self._library.root, state, ended)

        self._starting += 1
        try:
            self._listening[number] = await state.listen(str(socket))
            self._runs[number] = await loop.run_in_executor(self._starters, start_it)
        finally:
            self._starting -= 1
        return as_json({"number": number})

    def _forget(self) -> None:
        """Forget the oldest runs that have ended, so that there is room for one more."""
        for number in [each for each, run in self._runs.items() if not run.lasts]:
            if len(self._runs) < _KEPT_RUNS:
                return
            del self._runs[number]
            self._listening.pop(number).close()

    async def _stop(self, request: Request) -> Response:
        stop = await request_of(request, self._guard, Stop)
        if stop.number not in self._runs:
            raise MlinkError(f"there is no run {stop.number}")
        self._runs[stop.number].stop()
        return as_json({})

    def _role(self, request: Request) -> Role:
        return self._guard.role_of_cookie(request.headers.get("cookie")) or Role.GUEST


def files_below(root: Path) -> tuple[list[str], list[str], str]:
    """Return the bench files and the devices files below a folder: paths relative to it.

    The last is a text of what was not searched, or "".
    """
    benches: list[str] = []
    too_deep = 0
    devices: list[str] = []
    deepest = str(root).count(os.sep) + _DEEPEST
    for count, (path, folders, files) in enumerate(os.walk(root)):
        hidden = {each for each in folders if each.startswith(".")} | {"node_modules"}
        inside = [] if "manifest.toml" in files else sorted({*folders} - hidden)
        too_deep += len(inside) if path.count(os.sep) > deepest else 0
        folders[:] = inside if path.count(os.sep) <= deepest else []
        for name in sorted(files):
            file = Path(path) / name
            if not name.endswith(".toml") or not name.isprintable():
                continue
            text = _text(file)
            found = benches if _BENCH.search(text) else devices if _DEVICES.search(text) else None
            if found is not None:
                found.append(file.relative_to(root).as_posix())
        if count >= _MOST_FOLDERS or max(len(benches), len(devices)) >= _MOST_FILES:
            left = (
                f"Only the first {_MOST_FOLDERS:,} folders, or {_MOST_FILES} files, were searched."
            )
            return benches[:_MOST_FILES], devices[:_MOST_FILES], left
    left = f"{too_deep} folder(s) in more than {_DEEPEST} others were not searched."
    return benches, devices, left if too_deep else ""


def _text(file: Path) -> bytes:
    """Return the begin of a file; nothing where it is none, or a link."""
    try:
        if file.is_symlink() or not file.is_file():
            return b""
        with file.open("rb") as opened:
            return opened.read(_READ_BYTES)
    except OSError:
        return b""
