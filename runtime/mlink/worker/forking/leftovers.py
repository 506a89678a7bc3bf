"""Finds and ends what modules have started and left: children of scripts, daemons, their children.

The fork server is a subreaper: a process whose parent has ended becomes its child, wherever a
daemon has moved itself. The processes of a run also have its folder in their environment, by which
they are found when the fork server was killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from mlink.errors import ControlError
from mlink.refusals import refusal

RUN_VARIABLE = "MLINK_RUN"
"""Environment variable of a run's processes: the run's folder."""
MODULE_VARIABLE = "MLINK_MODULE"
"""Environment variable of what a module starts: the module's name."""
_LOOK_S = 0.05
_COMM = "ml:"
_SERVER = "mlink.worker.forking.forkserver"
_TERMINATED_S = 2.0
"""How long a process may take to end after SIGTERM."""
_LIMIT_S = 10.0
_SHOWN = 200
"""Longest command line that is shown."""
_LOGGED = 20

log = logging.getLogger("mlink.worker")


class Left(msgspec.Struct, tag=True, frozen=True):
    """A process that was still there at the end of its run, and that is ended."""

    pid: int
    command: str
    """Its command line; "" for the module's own process."""
    module: str
    """The module that started it; "" if that is not known."""
    problem: str = ""
    """Why it cannot be ended."""

    def __str__(self) -> str:
        by = f"module '{self.module}'" if self.module else "a module"
        who = f"process {self.pid} ({self.command}) that {by} started"
        if not self.command:
            who = f"process {self.pid} of {by}"
        what = f"cannot be ended: {self.problem}" if self.problem else "and is ended"
        return f"{who} was left behind, {what}"


def end_processes(
    find: Callable[[], Iterable[int]],
    report: Callable[[Left], object],
    workers: Mapping[int, str],
    *,
    patience_s: float = 0.5,
) -> None:
    """End processes and report each: SIGTERM, after a while SIGKILL.

    Args:
        find: Returns the ids of those that are there. It is called again and again: what a process
            has started can be found when that process has ended.
        report: Called once with each, and again with one that cannot be ended.
        workers: Names of modules, by the process ids of their workers.
        patience_s: How long processes may take to end by themselves.
    """
    begun = time.monotonic()
    since: dict[int, float] = {}
    with ExitStack() as stack:
        fds: dict[int, int] = {}
        while pids := list(find()):
            now = time.monotonic()
            if now > begun + patience_s + _LIMIT_S:
                for pid in pids:
                    left = _describe(pid, workers)
                    report(msgspec.structs.replace(left, problem="it is there after SIGKILL"))
                return
            if now > begun + patience_s:
                for pid, fd in _open(set(pids) - set(fds), find):
                    stack.callback(os.close, fd)
                    fds[pid], since[pid] = fd, now
                    left = _describe(pid, workers)
                    problem = _send(fd, signal.SIGTERM)
                    report(msgspec.structs.replace(left, problem=problem))
                    _send(fd, signal.SIGCONT)
            for pid in set(pids) & set(fds):
                if now > since[pid] + _TERMINATED_S:
                    _send(fds[pid], signal.SIGKILL)
            time.sleep(_LOOK_S)


def end_run(folder: str, *, patience_s: float = 0.5) -> tuple[list[Left], list[int]]:
    """End the processes of a run whose fork server has gone.

    Args:
        folder: The run's folder.
        patience_s: How long they may take to end by themselves.

    Returns:
        What was ended, and the fork servers that still run: these end the rest, so nothing is done.
    """
    servers = [pid for pid in _of_run(folder) if _is_fork_server(pid)]
    left: list[Left] = []
    if not servers:
        end_processes(lambda: _of_run(folder), left.append, {}, patience_s=patience_s)
    for pid in servers:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGCONT)  # a stopped one would never end them
    return left, servers


def process_name(module: str) -> str:
    """Return the name of a worker's process, which all that it forks have too.

    The kernel keeps 15 bytes.
    """
    return f"{_COMM}{module}".encode()[:15].decode("utf-8", "ignore")


def log_left(left: Sequence[Left], whose: str = "") -> None:
    """Log each process that was ended, up to _LOGGED of them.

    Args:
        left: The processes.
        whose: Begins each line.
    """
    for each in left[:_LOGGED]:
        log.warning("%s%s", whose, each)
    if len(left) > _LOGGED:
        log.warning("%s%d more processes are left too, and are ended", whose, len(left) - _LOGGED)


def children() -> list[int]:
    """Return the ids of the children of this process."""
    own = str(os.getpid())
    # pid (name) state parent …; the name may contain anything
    return [
        pid for pid in _processes() if _read(pid, "stat").rpartition(")")[2].split()[1:2] == [own]
    ]


def _of_run(folder: str) -> list[int]:
    entry = f"{RUN_VARIABLE}={folder}"
    return [
        pid
        for pid in _processes()
        if pid != os.getpid() and _is_ours(pid) and entry in _environment(pid)
    ]


def _is_ours(pid: int) -> bool:
    """Return whether a process belongs to this user: anybody can name a run in an environment."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
    return False


def _is_fork_server(pid: int) -> bool:
    forked = _read(pid, "comm").startswith(_COMM)
    return _SERVER in _read(pid, "cmdline") and not forked


def _open(pids: Iterable[int], find: Callable[[], Iterable[int]]) -> Iterator[tuple[int, int]]:
    """Yield (process id, pidfd) of those that are still the same processes."""
    fds: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            fds[pid] = os.pidfd_open(pid)
    still = set(find()) if fds else set()
    for pid, fd in fds.items():
        if pid in still:
            yield pid, fd
        else:
            os.close(fd)


def _send(fd: int, number: signal.Signals) -> str:
    """Send a signal; return why that is not possible, "" for a process that has ended."""
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return ""
    except OSError as error:
        return str(error.strerror)
    return ""


def _describe(pid: int, workers: Mapping[int, str]) -> Left:
    if name := workers.get(pid):
        return Left(pid, "", name)
    command = _read(pid, "cmdline").replace("\0", " ").strip() or _read(pid, "comm").strip()
    if _SERVER in command:
        command = "a fork of its own process"
    shown = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}…"
    return Left(pid, shown, _module_of(pid, workers))


def _module_of(pid: int, workers: Mapping[int, str]) -> str:
    """Return the module that started a process, by its session, environment or name."""
    with contextlib.suppress(OSError):
        if name := workers.get(os.getsid(pid)):
            return name
    for entry in _environment(pid):
        key, _, value = entry.partition("=")
        if key == MODULE_VARIABLE:
            return value
    comm = _read(pid, "comm").strip()
    names = {name for name in workers.values() if comm == process_name(name)}
    return names.pop() if len(names) == 1 else comm.partition(_COMM)[2]


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    except OSError as error:
        refused = refusal(error)
        raise ControlError(
            f"what modules have left behind cannot be found: {error.strerror}",
            remedy=refused.remedy if refused else "Check that /proc is mounted and readable.",
        ) from error


def _environment(pid: int) -> list[str]:
    return _read(pid, "environ").split("\0")


def _read(pid: int, name: str) -> str:
    """Return a file of /proc; "" if the process has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
