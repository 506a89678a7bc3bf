"""Another user of the machine, who tries to disturb a run: `python -m … RUN_FOLDER PID…`, as root.

It knows the worst case: the run's folder and its processes. It prints what it could do, as JSON.
In the environment, SECRETS are words that no command line may have.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
_ATTACH, _DETACH = 16, 17


def become_nobody() -> None:
    """Give up all rights of root for those of the user `nobody`."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def take_names(count: int = 20) -> list[Path]:
    """Make names that a run of root may want, in folders that are open to all."""
    taken: list[Path] = []
    for folder in (Path(tempfile.gettempdir()), Path("/dev/shm")):
        wanted = ["mlink", "mlink-0", "mlink-hil", *(f"mlink-0-{n:08x}" for n in range(count))]
        for number, name in enumerate(wanted):
            with suppress(OSError):
                path = folder / name
                if number % 3 == 0:
                    path.mkdir(mode=0o777)
                    (path / "lock").write_text("mlink run 1")
                elif number % 3 == 1:
                    path.symlink_to("/proc/self")
                else:
                    path.touch(mode=0o666)
                taken.append(path)
    return taken


def attacks(
    run: Path, pids: list[int], known: list[Path], since: float
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what to try, each with its name; an attempt that is refused raises an OSError."""
    for path in [run, run.parent, *known]:
        yield f"list {path}", lambda path=path: os.listdir(path)
        yield f"read {path}", lambda path=path: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        yield (
            f"write {path}",
            lambda path=path: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)),
        )
        yield f"make a file in {path}", lambda path=path: (path / "other").touch()
        yield f"rename {path}", lambda path=path: path.rename(path.with_name("other"))
        yield f"remove {path}", lambda path=path: path.unlink()
        yield f"open {path} to all", lambda path=path: path.chmod(0o777)
    yield "lock the run", lambda: fcntl.flock(os.open(run / "lock", os.O_RDONLY), fcntl.LOCK_EX)
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        for name in unix_sockets(run, known):
            yield (
                f"connect to {name}",
                lambda k=kind, n=name: socket.socket(socket.AF_UNIX, k).connect(n),
            )
    for path in Path("/dev/pts").iterdir():
        if path.name.isdecimal() and path.stat().st_uid == 0:
            yield f"open {path}", lambda path=path: os.open(path, os.O_RDWR | os.O_NOCTTY)
            yield f"write to {path}", lambda path=path: os.open(path, os.O_WRONLY | os.O_NOCTTY)
    for path in Path("/dev/shm").iterdir():
        found = path.lstat()
        if found.st_uid == 0 and stat.S_ISREG(found.st_mode) and found.st_ctime > since:
            yield f"write {path}", lambda path=path: os.open(path, os.O_RDWR)
    for pid in pids:
        yield f"stop {pid}", lambda pid=pid: os.kill(pid, signal.SIGSTOP)
        yield f"kill {pid}", lambda pid=pid: os.kill(pid, signal.SIGKILL)
        yield f"slow {pid}", lambda pid=pid: os.setpriority(os.PRIO_PROCESS, pid, 19)
        yield f"move {pid}", lambda pid=pid: os.sched_setaffinity(pid, {0})
        yield (
            f"demote {pid}",
            lambda pid=pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
        )
        yield f"trace {pid}", lambda pid=pid: trace(pid)
        words = Path(f"/proc/{pid}/cmdline").read_bytes()  # everybody may read it
        secret = [part for part in os.environ.get("SECRETS", "").split() if part.encode() in words]
        yield f"read secrets of {pid}", lambda secret=secret: _found(secret)
        for name in ("environ", "mem", "maps", "fd/0", "fd/1", "fd/3", "cwd", "root"):
            path = Path(f"/proc/{pid}/{name}")
            yield f"open {path}", lambda path=path: os.close(os.open(path, os.O_RDONLY))
        for number in range(40):
            yield (
                f"open descriptor {number} of {pid}",
                lambda pid=pid, n=number: os.close(os.open(f"/proc/{pid}/fd/{n}", os.O_RDWR)),
            )


def _found(secret: list[str]) -> None:
    if not secret:
        raise OSError("nothing")


def unix_sockets(run: Path, known: list[Path]) -> list[str]:
    """Return the names of sockets in the run's folder, and all abstract ones of this machine."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    names = {words[7] for line in lines if len(words := line.split(maxsplit=7)) == 8}
    ours = {str(path) for path in known} | {n for n in names if n.startswith(str(run))}
    return sorted(ours)


def trace(pid: int) -> None:
    """Attach to a process as a debugger."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_ATTACH, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    libc.ptrace(_DETACH, pid, 0, 0)


def main() -> None:
    """Try everything and print what has worked; leave decoys of the run's processes behind."""
    run, pids = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    known, since = sorted(run.rglob("*")), run.stat().st_ctime - 60  # with root's eyes
    become_nobody()
    done = []
    for name, attack in attacks(run, pids, known, since):
        with suppress(OSError):
            attack()
            done.append(name)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
