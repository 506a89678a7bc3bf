"""The fork server: a process that has done the slow imports and forks the workers.

The engine starts it as `python -m mlink.worker.forking.forkserver FD MODULE…`. Over the socket FD
(Unix SEQPACKET) it receives one WorkerSpec per packet, with the worker's descriptors attached
(control channel, doorbell, pipe of its output, pipes of its streams), and it reports the start and
exit of each child.
When the engine ends the socket, or has gone, it waits for the workers and ends what they have left.

The fork server of `multiprocessing` is not used: it imports the main program in every child and
pickles what it passes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

import msgspec

from mlink import control
from mlink.channel import worker_channel
from mlink.ctrl_c import let_through
from mlink.errors import ControlError
from mlink.realtime import reset_on_fork, wake_on_time
from mlink.refusals import refusal
from mlink.worker.connection import adopt, become_program
from mlink.worker.failure import describe
from mlink.worker.forking.leftovers import (
    MODULE_VARIABLE,
    Left,
    children,
    end_processes,
    process_name,
)
from mlink.worker.life import Worker
from mlink.worker.output import redirect_descriptors
from mlink.worker_spec import MAX_DESCRIPTORS, WorkerSpec

REQUEST_LIMIT = 1 << 18
FAULT = 70
"""Exit code of a worker that did not come to its own end."""
_SYNTALOS_VERSION = "3.1.1"
"""Whose interface scripts have, in their environment."""


class Importing(msgspec.Struct, tag=True, frozen=True):
    """The server imports this module next; "" when it has imported all."""

    module: str


class Forked(msgspec.Struct, tag=True, frozen=True):
    """A worker was forked with this process id.

    A message of the fork server to the engine.
    """

    name: str
    pid: int


class Exited(msgspec.Struct, tag=True, frozen=True):
    """A worker has exited; a negative code is the signal that ended it.

    A message of the fork server to the engine.
    """

    name: str
    pid: int
    code: int


ServerMessages = Importing | Forked | Exited | Left

_WORKERS_S = 30.0
"""How long workers may drain when the engine has gone; after SIGTERM they close their files."""


def main() -> None:
    """Import the modules of the command line, then serve until the engine closes the socket."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine handles Ctrl-C
    os.umask(os.umask(0o077) | 0o002)  # no file of a module is writable for other users
    # Processes whose parent has ended become children of this one (PR_SET_CHILD_SUBREAPER).
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    let_through()
    encode = msgspec.msgpack.Encoder().encode
    for name in sys.argv[2:]:
        # If it ends this process, the engine knows which one it was. One that cannot be imported
        # fails again in its worker, which reports it; SIGINT is ignored here.
        with contextlib.suppress(OSError):
            requests.send(encode(Importing(name)))
        with contextlib.suppress(Exception, SystemExit, KeyboardInterrupt):
            importlib.import_module(name)
    with contextlib.suppress(OSError):
        requests.send(encode(Importing("")))
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
    workers: dict[int, str] = {}
    """The same, with those that have ended: what they started has their session."""
    encode = msgspec.msgpack.Encoder().encode
    waiting = select.poll()
    for fd in (requests.fileno(), wake_read):
        waiting.register(fd, select.POLLIN)
    while True:
        ready = [fd for fd, _ in waiting.poll()]
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            for pid, code in _reap():
                if name := names.pop(pid, None):
                    with contextlib.suppress(OSError):
                        requests.send(encode(Exited(name, pid, code)))
        if requests.fileno() in ready:
            try:
                packet, descriptors, flags, _ = socket.recv_fds(
                    requests, REQUEST_LIMIT, MAX_DESCRIPTORS
                )
            except ConnectionResetError:  # the engine was killed before it read all that was sent
                packet = b""
            if not packet:
                _wait_for(names)
                _end_what_is_left(requests, workers)
                return
            spec = msgspec.msgpack.decode(packet, type=WorkerSpec)
            try:
                if flags & socket.MSG_CTRUNC:  # there was no room for all of its descriptors
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                pid = os.fork()
            except OSError as error:
                if descriptors:
                    refused = refusal(error) or ControlError(str(error))
                    text = f"its process cannot be started: {refused.message}"
                    found = ControlError(text, remedy=refused.remedy)
                    _report(found, "load", spec, descriptors[0])
                with contextlib.suppress(OSError):
                    requests.send(encode(Exited(spec.name, 0, FAULT)))
                for fd in descriptors:
                    os.close(fd)
                continue
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for fd in (wake_read, wake_write):
                    os.close(fd)
                requests.close()
                _be_worker(spec, list(descriptors))
            names[pid] = workers[pid] = spec.name
            for fd in descriptors:
                os.close(fd)
            with contextlib.suppress(OSError):  # the engine was killed: the next packet is its end
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


def _wait_for(names: dict[int, str]) -> None:
    """Wait for the end of these workers: without an engine they drain and close by themselves."""
    deadline = time.monotonic() + _WORKERS_S
    while names and time.monotonic() < deadline:
        for pid, _ in _reap():
            names.pop(pid, None)
        time.sleep(0.01 if names else 0.0)


def _end_what_is_left(engine: socket.socket, workers: dict[int, str]) -> None:
    """End all children, and send each to the engine; print it where there is no engine."""
    encode = msgspec.msgpack.Encoder().encode

    def report(left: Left) -> None:
        try:
            engine.send(encode(left), socket.MSG_DONTWAIT)
        except OSError:
            with contextlib.suppress(OSError):
                os.write(2, f"mlink: {left}\n".encode())

    def find() -> list[int]:
        _reap()
        return children()

    try:
        end_processes(find, report, workers)
    except ControlError as error:  # the engine, which sees the exit code, tries it again
        os.write(2, f"mlink: {error}\n".encode())
        sys.exit(1)


def _be_worker(spec: WorkerSpec, descriptors: list[int]) -> None:
    """Run as a worker and exit; never return to the server's loop."""
    code, phase = FAULT, "load"
    try:
        os.setsid()  # a terminal's Ctrl-C reaches the engine only, which stops the workers
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _exit_of(os.getpid()))
        redirect_descriptors(descriptors[2])
        if spec.nice:
            with contextlib.suppress(PermissionError):  # the engine logs refusals
                os.setpriority(os.PRIO_PROCESS, 0, spec.nice)
                reset_on_fork()
        wake_on_time()
        _rename_process(spec.name)
        os.environ[MODULE_VARIABLE] = spec.name
        os.environ["SYNTALOS_MODULE_ID"] = f"{spec.type_id}_{spec.name}"  # scripts look for these
        os.environ["SYNTALOS_VERSION"] = _SYNTALOS_VERSION
        if spec.program:
            become_program(spec, descriptors)
        connection = adopt(spec, descriptors)
        worker = Worker(connection)
        phase = "close"  # whatever its module does is reported by the worker itself
        code = worker.run()
        connection.printed.finish()
    except BaseException as error:  # noqa: BLE001 - a child must not return into the server
        if code == FAULT:
            _report(error, phase, spec, descriptors[0])
    finally:
        os._exit(code)


def _exit_of(worker: int) -> Callable[[int, object], None]:
    """Return a handler of signals by which this worker closes its files and exits."""

    def handle(number: int, _frame: object) -> None:
        if os.getpid() != worker:  # a fork of a script's: the files are not its own
            os._exit(128 + number)
        raise SystemExit(128 + number)

    return handle


def _report(error: BaseException, phase: str, spec: WorkerSpec, channel: int) -> None:
    """Send a failure outside of the module, such as a signal before it is built."""
    found = describe(error, debug=spec.debug)
    with contextlib.suppress(ControlError, OSError):  # the engine has gone
        worker_channel(socket.socket(fileno=os.dup(channel))).send(
            control.Failed(
                phase=phase,
                message=control.cut(found.message),
                remedy=control.cut(found.remedy),
                detail=control.cut(found.detail),
            )
        )


def _rename_process(name: str) -> None:
    """Show the module's name in process lists."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as comm:  # noqa: PTH123
        comm.write(process_name(name).encode())


if __name__ == "__main__":
    main()
