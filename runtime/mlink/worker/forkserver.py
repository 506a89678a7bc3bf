"""The fork server: a process that has done the slow imports and forks the workers.

The engine starts it as `python -m mlink.worker.forkserver FD MODULE…`. Over the socket FD (Unix
SEQPACKET) it receives one WorkerSpec per packet, with the worker's descriptors attached (control
channel, doorbell, subscribers' doorbells, pipes), and it reports the start and exit of each child.

The fork server of `multiprocessing` is not used: it imports the main program in every child and
pickles what it passes.
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
import sys
import traceback

import msgspec

from mlink.control import WorkerSpec
from mlink.worker.connection import adopt, become_program
from mlink.worker.life import Worker

REQUEST_LIMIT = 1 << 18
MAX_DESCRIPTORS = 200
"""Most descriptors in a packet; the kernel's limit is 253 (SCM_MAX_FD)."""


class Forked(msgspec.Struct, tag=True, frozen=True):
    """A worker was forked with this process id."""

    name: str
    pid: int


class Exited(msgspec.Struct, tag=True, frozen=True):
    """A worker has exited; a negative code is the signal that ended it."""

    name: str
    pid: int
    code: int


ServerMessages = Forked | Exited


def main() -> None:
    """Import the modules of the command line, then serve until the engine closes the socket."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine handles Ctrl-C
    for name in sys.argv[2:]:
        # a module that cannot be imported fails again in its worker, which reports it
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    serve(requests)


def serve(requests: socket.socket) -> None:
    """Fork workers on request and report their exits, until the socket is closed.

    One request is one packet: a packed WorkerSpec with descriptors attached (SCM_RIGHTS).
    """
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    names: dict[int, str] = {}
    encode = msgspec.msgpack.Encoder().encode
    while True:
        ready, _, _ = select.select([requests.fileno(), wake_read], [], [])
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            for pid, code in _reap():
                if name := names.pop(pid, None):
                    with contextlib.suppress(OSError):
                        requests.send(encode(Exited(name, pid, code)))
        if requests.fileno() in ready:
            try:
                packet, descriptors, _, _ = socket.recv_fds(
                    requests, REQUEST_LIMIT, MAX_DESCRIPTORS
                )
            except ConnectionResetError:  # the engine was killed before it read all that was sent
                return
            if not packet:
                return
            spec = msgspec.msgpack.decode(packet, type=WorkerSpec)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for fd in (wake_read, wake_write):
                    os.close(fd)
                requests.close()
                _be_worker(spec, list(descriptors))
            names[pid] = spec.name
            for fd in descriptors:
                os.close(fd)
            requests.send(encode(Forked(spec.name, pid)))


def _reap() -> list[tuple[int, int]]:
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, os.waitstatus_to_exitcode(status)))


def _be_worker(spec: WorkerSpec, descriptors: list[int]) -> None:
    """Run as a worker and exit; never return to the server's loop."""
    code = 70
    try:
        os.setsid()  # a terminal's Ctrl-C reaches the engine only, which stops the workers
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _exit_on_signal)
        os.dup2(2, 1)  # the engine's stdout is for results
        if spec.nice:
            with contextlib.suppress(PermissionError):  # the engine logs refusals
                os.setpriority(os.PRIO_PROCESS, 0, spec.nice)
        _wake_on_time()
        _rename_process(spec.name)
        if spec.program:
            become_program(spec, descriptors)
        connection = adopt(spec, descriptors)
        code = Worker(connection).run()
        connection.printed.finish()
    except BaseException:  # noqa: BLE001 - a child must not return into the server
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def _exit_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _wake_on_time() -> None:
    """Set the slack of timed waits to 1 µs; the default is 50 µs (PR_SET_TIMERSLACK, in ns)."""
    ctypes.CDLL(None).prctl(29, 1000, 0, 0, 0)


def _rename_process(name: str) -> None:
    """Show the module's name in process lists (the kernel keeps 15 bytes)."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as comm:  # noqa: PTH123
        comm.write(f"ml:{name}".encode()[:15])


if __name__ == "__main__":
    main()
