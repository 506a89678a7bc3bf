"""Programs of ours as forks of a process that has imported them already, in place of new ones.

`mlink fuzz` runs a bench a thousand times; a new interpreter for each fork server and simulator,
with its imports, takes longer than what it does. A process that has imported their modules calls
`begin`, while it has one thread: that forks a process which does nothing but fork further ones.
From then on `start` gives forks of it. They are children of the process that has called `begin`,
and have nothing of it but its modules: their descriptors, environment, signals and random numbers
are those of a new program.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

import msgspec

_SET_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_LONGEST = 1 << 18
_ADOPTED_S = 10.0
_STANDARD = 3


class _Request(msgspec.Struct):
    """Start a program; its standard descriptors come with it, then one more if it `takes` it."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    takes: bool
    cwd: str


class Forked:
    """A program that runs in a fork; the part of `subprocess.Popen` that its users need.

    Args:
        pid: Its process ID; it is a child of this process.
        stdout: What it prints, if a pipe was asked for.
    """

    def __init__(self, pid: int, stdout: IO[bytes] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._fd = os.pidfd_open(pid)
        self._reaping = threading.Lock()

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        with self._reaping:
            if self.returncode is None:
                with contextlib.suppress(ChildProcessError):
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self.returncode = os.waitstatus_to_exitcode(status)
                        os.close(self._fd)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: It has not come within `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left_s = None if end is None else end - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            waiting = select.poll()
            waiting.register(self._fd, select.POLLIN)
            waiting.poll(None if left_s is None else left_s * 1000)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


Program = subprocess.Popen[bytes] | Forked


class _Forker:
    """This process's connection to the one that forks."""

    def __init__(self, ours: socket.socket) -> None:
        self._sock = ours
        self._one_at_a_time = threading.Lock()
        self._owner = os.getpid()

    @property
    def is_own(self) -> bool:
        """Whether this process, and not the parent of this fork, has called `begin`."""
        return os.getpid() == self._owner

    def fork(self, request: _Request, descriptors: Sequence[int]) -> int:
        with self._one_at_a_time:
            socket.send_fds(self._sock, [msgspec.msgpack.encode(request)], list(descriptors))
            answer = self._sock.recv(64)
        if not answer:
            raise OSError("the process that forks programs has ended")
        return int(answer)


_forker: _Forker | None = None


def hashes_are_fixed() -> bool:
    """Return whether this process hashes texts as workers in virtual time have to."""
    return os.environ.get("PYTHONHASHSEED") == "0" and not sys.flags.hash_randomization


def begin() -> None:
    """Let programs of this process be forks of it from now on; it has one thread, and hashes fixed.

    The process that forks ends with this one.
    """
    global _forker
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1, 0, 0, 0)
    parent = os.getpid()
    if os.fork() == 0:
        _serve(theirs, parent)
    theirs.close()
    _forker = _Forker(ours)


def start(
    module: str,
    arguments: Sequence[str],
    *,
    stdout: int,
    stderr: int | None,
    environment: Mapping[str, str] | None = None,
    takes: socket.socket | None = None,
) -> Program:
    """Start `python -m module arguments…` in a session of its own, with no input.

    Args:
        module: Its `main` makes the program; what that returns is the exit code.
        arguments: Its arguments.
        stdout: A descriptor, or `subprocess.PIPE`.
        stderr: A descriptor; None is that of this process.
        environment: Its environment; None is that of this process.
        takes: A socket that it is given: the descriptor's number is its first argument.

    Raises:
        OSError: It cannot be started.
    """
    if _forker is None or not _forker.is_own:
        given = [] if takes is None else [takes.fileno()]
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, given), *arguments],
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            env=environment,
        )
    found = dict(os.environ if environment is None else environment)
    request = _Request(module, list(arguments), found, takes is not None, str(Path.cwd()))
    read_end = write_end = -1
    if stdout == subprocess.PIPE:
        read_end, write_end = os.pipe()
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        out = write_end if read_end >= 0 else nothing if stdout == subprocess.DEVNULL else stdout
        err = 2 if stderr is None else nothing if stderr == subprocess.DEVNULL else stderr
        descriptors = [nothing, out, err, *([] if takes is None else [takes.fileno()])]
        pid = _forker.fork(request, descriptors)
    except BaseException:
        if read_end >= 0:
            os.close(read_end)
        raise
    finally:
        os.close(nothing)
        if write_end >= 0:
            os.close(write_end)
    return Forked(pid, open(read_end, "rb", buffering=0) if read_end >= 0 else None)  # noqa: PTH123


# the process that forks ---------------------------------------------------------------------------


def _serve(requests: socket.socket, parent: int) -> NoReturn:
    """Fork on request, until the parent has gone; never return."""
    try:
        os.setsid()
        gc.freeze()  # objects of the parent must not close descriptors of the programs
        _forget_descriptors(requests.fileno())
        _forget_signals()
        while True:
            packet, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 8)
            if not packet:
                break
            between = os.fork()
            if between == 0:
                # A child of the parent: the process between ends, and the parent is a subreaper.
                program = os.fork()
                if program == 0:
                    _be_program(packet, list(descriptors), parent)
                requests.send(b"%d" % program)
                os._exit(0)
            os.waitpid(between, 0)
            for fd in descriptors:
                os.close(fd)
    except BaseException:  # noqa: BLE001 - it must not return into the parent's code
        with contextlib.suppress(Exception):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(0)


def _be_program(packet: bytes, descriptors: list[int], parent: int) -> NoReturn:
    code = 1
    try:
        request = msgspec.msgpack.decode(packet, type=_Request)
        os.setsid()
        deadline = time.monotonic() + _ADOPTED_S
        while os.getppid() != parent and time.monotonic() < deadline:
            time.sleep(0.0005)
        for number, fd in enumerate(descriptors[:_STANDARD]):
            os.dup2(fd, number)
            os.close(fd)
        taken = descriptors[_STANDARD:]
        os.environ.clear()
        os.environ.update(request.environment)
        os.chdir(request.cwd)
        sys.argv = [request.module, *map(str, taken), *request.arguments]
        _draw_anew()
        code = int(importlib.import_module(request.module).main() or 0)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - it must not return into the parent's code
        with contextlib.suppress(Exception):
            os.write(2, traceback.format_exc().encode())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _forget_descriptors(kept: int) -> None:
    """Let all other descriptors lead nowhere; their numbers stay in use, whoever closes them."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for path in list(Path("/proc/self/fd").iterdir()):
        fd = int(path.name)
        if fd >= _STANDARD and fd not in (kept, nothing):
            with contextlib.suppress(OSError):  # that of the listing itself is closed
                os.fstat(fd)
                os.dup2(nothing, fd, inheritable=False)
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, stream, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
        setattr(sys, f"__{stream}__", getattr(sys, stream))


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as an interpreter begins
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _draw_anew() -> None:
    """Seed NumPy's random numbers; those of `random` are seeded anew in each fork."""
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()
