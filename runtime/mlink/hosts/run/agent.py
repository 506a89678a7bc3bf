"""What an agent does for runs: checks parts, runs one at a time, hands out what was recorded."""

from __future__ import annotations

import hashlib
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from mlink.catalog import module_types
from mlink.closing import ClosesOnExit
from mlink.errors import HostError, StorageError
from mlink.hosts.link.agent import Agent
from mlink.hosts.link.calls import Message
from mlink.hosts.link.lease import Lease
from mlink.hosts.run import messages
from mlink.hosts.run.bridge import Link
from mlink.hosts.run.hosted import HostedRun, refuse_second
from mlink.hosts.run.split import Part, there
from mlink.module import Category
from mlink.storage.failures import storage_errors
from mlink.storage.inside import RecordingFile, RecordingFolder, all_below
from mlink.storage.manifest import MANIFEST

_SCRIPTS: Final = "scripts"
_FILE_KEYS: Final = ("script", "main")
"""Settings that name the file of a script."""
_HASHED_AT_ONCE: Final = 64 << 20
"""Bytes: an answer does not take longer than a tenth of a second or so."""
_MOST_HASHES: Final = 16


class RunService(ClosesOnExit):
    """Handles what controllers ask an agent for.

    Args:
        data: Folder of recordings; one folder per run is made in it.
        endpoint: Where the bridges of runs connect to: the agent's own session, by loopback or a
            Unix socket.
        allow_scripts: Whether controllers may run scripts and programs of theirs here.
        address: Own address for the exchanges of clocks; "" for no such exchanges.
        check_lease: Raises a HostError for a run that has not taken this host.
    """

    def __init__(
        self,
        data: Path,
        endpoint: str,
        *,
        allow_scripts: bool = False,
        address: str = "127.0.0.1",
        check_lease: Callable[[str], object] = lambda _run: None,
    ) -> None:
        self._data, self._endpoint = data, endpoint
        self._allow_scripts, self._address = allow_scripts, address
        self._check_lease = check_lease
        self._run: HostedRun | None = None
        self._lock = threading.Lock()
        self._hashes: dict[tuple[str, str], tuple[Any, BinaryIO]] = {}
        self.handlers: Mapping[type[Message], Callable[[Any], Message]] = {
            messages.Check: self.check,
            messages.Prepare: self.prepare,
            messages.Look: lambda request: self._of(request.run).look(request.since),
            messages.Go: self.go,
            messages.Halt: self.halt,
            messages.Files: self.files,
            messages.Fetch: self.fetch,
            messages.Digest: self.digest,
        }
        """What handles each request."""

    def lease_ended(self, lease: Lease, why: str) -> None:
        """End a run whose controller has lost this host."""
        if self._run is not None and self._run.run == lease.run and not self._run.is_over:
            self._run.halt(f"the lease of {lease.owner} has ended: {why}", abort=False)

    def look(self) -> None:
        """Do nothing: each run has a thread of its own."""

    @property
    def current(self) -> HostedRun | None:
        """The run that lasts, or the last one."""
        return self._run

    def close(self) -> None:
        """End the run in order."""
        if self._run is not None:
            self._run.close()
        for _, file in self._hashes.values():
            file.close()
        self._hashes.clear()

    def check(self, request: messages.Check) -> messages.Checked:
        """Refuse a part that cannot run here."""
        self._refuse_scripts(request.part)
        folder = self._data / "checks"
        try:
            self._there(request.part, request.scripts, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        missing = [
            f"{key}: there is no {spec}"
            for key, spec in request.part.devices.items()
            if spec.startswith("/") and not Path(spec).exists()
        ]
        return messages.Checked(shutil.disk_usage(self._data).free, missing)

    def prepare(self, request: messages.Prepare) -> messages.Prepares:
        """Begin a run."""
        with self._lock:
            self._check_lease(request.run)
            refuse_second(self._run)
            self._refuse_scripts(request.part)
            folder = self._data / request.run
            if folder.exists():
                raise HostError(f"run {request.run[:8]} was made here before")
            try:
                part = self._there(request.part, request.scripts, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            clock = None
            if request.clock_key and self._address:
                from mlink.hosts.clocks.host_clock import HostClock

                clock = HostClock(request.clock_key, address=self._address)
                clock.start()
            begin = messages.Begin(
                request.run,
                part,
                request.options,
                str(folder),
                self._endpoint,
                clock.page_fd if clock is not None else -1,
            )
            if self._run is not None:
                self._run.close()
            self._run = HostedRun(begin, request.owner, clock)
            return messages.Prepares(clock.port if clock is not None else 0)

    def go(self, request: messages.Go) -> messages.Done:
        """Start the run."""
        self._of(request.run).go(request.t0_ns)
        return messages.Done()

    def halt(self, request: messages.Halt) -> messages.Done:
        """Stop the run."""
        how = "" if request.success else ": the run has failed"
        self._of(request.run).halt(f"the controller stopped{how}", abort=request.abort)
        return messages.Done()

    def _of(self, run: str) -> HostedRun:
        if self._run is None or self._run.run != run:
            raise HostError(
                f"run {run[:8]} is not here: the agent was started again meanwhile",
                remedy="What it had recorded is there still: mlink gather RECORDING.",
            )
        return self._run

    def _refuse_scripts(self, part: Part) -> None:
        if self._allow_scripts:
            return
        known = module_types()
        for name, table in part.modules.items():
            kind = known.get(str(table.get("type")))
            if kind is not None and (kind.category is Category.SCRIPT or kind.program is not None):
                raise HostError(
                    f"module '{name}' runs a program of the controller's, and this host does not "
                    "allow that",
                    remedy=f"Let '{name}' run on the controller, or allow it on this host: "
                    "allow_scripts = true in its agent.toml.",
                )

    def _there(self, part: Part, scripts: Mapping[str, bytes], folder: Path) -> Part:
        """Write the scripts of a part into a folder, check the part there, and return it."""
        with storage_errors(folder, "create"):
            self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700)
            (folder / _SCRIPTS).mkdir()
        tables = {name: dict(table) for name, table in part.modules.items()}
        for name, table in tables.items():
            for key in _FILE_KEYS:
                if name not in scripts or key not in table:
                    continue
                path = Path(_SCRIPTS) / f"{_plain(name)}.py"
                with storage_errors(folder / path):
                    (folder / path).write_bytes(scripts[name])
                table[key] = str(path)
            if "settings_file" in table:
                table["settings_file"] = f"{_plain(name)}.settings"
        own = _replaced(part, tables)
        there(own, folder, Link(self._endpoint, "00"))
        return own

    # what was recorded ------------------------------------------------------------------------

    def files(self, request: messages.Files) -> messages.Listed:
        """List the files of a recording."""
        root = self._recording(request.run)
        with RecordingFolder(root).opened() as fd:
            found = [
                messages.File(path, each.st_size)
                for path, each, _ in all_below(fd)
                if stat.S_ISREG(each.st_mode)
            ]
        until = request.first + messages.MOST_FILES
        return messages.Listed(found[request.first : until], len(found))

    def fetch(self, request: messages.Fetch) -> messages.Chunk:
        """Return a part of a file."""
        with self._file(request.run, request.path).open() as file:
            file.seek(request.offset)
            return messages.Chunk(file.read(messages.MOST_CHUNK_BYTES))

    def digest(self, request: messages.Digest) -> messages.Digested:
        """Go on with the digest of a file; return it when it is known."""
        key = (request.run, request.path)
        if key not in self._hashes:
            while len(self._hashes) >= _MOST_HASHES:
                self._hashes.pop(next(iter(self._hashes)))[1].close()
            self._hashes[key] = hashlib.sha256(), self._file(request.run, request.path).open()
        digest, file = self._hashes[key]
        for _ in range(_HASHED_AT_ONCE >> 20):
            data = file.read(1 << 20)
            digest.update(data)
            if not data:
                self._hashes.pop(key)[1].close()
                return messages.Digested(digest.hexdigest())
        return messages.Digested()

    def _recording(self, run: str) -> Path:
        """Return the folder of what this host recorded in a run."""
        if self._run is not None and self._run.run == run and not self._run.is_over:
            raise HostError(f"run {run[:8]} still lasts here", remedy="Gather after its end.")
        folder = self._data / run
        found = [each for each in sorted(folder.glob("*")) if (each / MANIFEST).is_file()]
        if len(found) != 1:
            raise HostError(f"nothing was recorded here in run {run[:8]}")
        return found[0]

    def _file(self, run: str, path: str) -> RecordingFile:
        """Return a file of a recording; a name that leads out of it is refused."""
        *folders, name = path.split("/")
        if any(each in ("", ".", "..") or "\0" in each for each in (*folders, name)):
            raise StorageError(f"{path[:80]!r} is no file of a recording")
        folder = RecordingFolder(self._recording(run))
        for each in folders:
            folder = folder.folder(each)
        return folder.file(name)


def make_runs(agent: Agent) -> RunService:
    """Return what serves the runs of an agent, in the folder of its recordings."""
    outside = [
        each
        for each in agent.settings.listen
        if each.partition("/")[0] in ("tls", "tcp") and "/127." not in each
    ]
    return RunService(
        agent.settings.folder,
        agent.session.local_endpoint,
        allow_scripts=agent.settings.allow_scripts,
        address="0.0.0.0" if outside else "127.0.0.1",  # noqa: S104 - as its settings say
        check_lease=agent.lease.check,
    )


def _plain(name: str) -> str:
    """Return a module's name as that of a file."""
    return "".join(each if each.isalnum() or each in "-_" else "_" for each in name)[:80]


def _replaced(part: Part, tables: dict[str, dict[str, Any]]) -> Part:
    import msgspec

    return msgspec.structs.replace(part, modules=tables)
