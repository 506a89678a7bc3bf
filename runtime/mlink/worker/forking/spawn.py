"""The engine's side of the fork server: starts it, requests workers, receives their exits."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mlink.closing import ClosesOnExit
from mlink.ctrl_c import held_back
from mlink.errors import ControlError
from mlink.refusals import crash_remedy
from mlink.worker.forking.forkserver import Exited, Forked, Importing, ServerMessages
from mlink.worker.forking.leftovers import RUN_VARIABLE, Left, end_run
from mlink.worker.forking.warm import start
from mlink.worker_spec import WorkerSpec

_EXIT_WAIT_S = 5.0
_KILLED_WAIT_S = 1.0
_FINISH_S = 12.0
"""Longest wait for the server to end what modules have left; it needs at most 11 s."""
_SHOWN_AFTER_S = 3.0
_LOOK_S = 0.25


log = logging.getLogger("mlink.worker")


class ForkServer(ClosesOnExit):
    """Owns the fork server process.

    Args:
        preload: Modules that it imports first.
        folder: The run's folder, by which the run's processes are found.
        fixed_hashes: Whether the hashes of texts, and so the order of sets of them, are the same in
            each run.
    """

    def __init__(self, preload: Sequence[str], folder: Path, *, fixed_hashes: bool = False) -> None:
        self._folder = str(folder.resolve())
        hashes = {"PYTHONHASHSEED": "0"} if fixed_hashes else {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, held_back():
            self._process = start(
                "mlink.worker.forking.forkserver",
                preload,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
                stderr=None if sys.__stderr__ else subprocess.DEVNULL,
                environment=os.environ | hashes | {RUN_VARIABLE: self._folder},
                takes=theirs,
            )
        self._sock = ours
        self._importing = ""
        """The module that the server imports now."""
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder: msgspec.msgpack.Decoder[ServerMessages] = msgspec.msgpack.Decoder(
            ServerMessages
        )

    def fileno(self) -> int:
        """Return the descriptor to wait on.

        It is readable when a worker was forked or has exited, and when the server has ended.
        """
        return self._sock.fileno()

    def describe(self) -> str:
        """Return what the server does, as a clause for a message."""
        pid = self._process.pid
        if self._stopped:
            return f"the fork server is stopped (to continue it: kill -CONT {pid})"
        imports = f"imports {self._importing}" if self._importing else "imports"
        return f"the fork server (process {pid}) still {imports}, or does not answer"

    def rouse(self) -> str:
        """Continue the server if it is stopped; return a text for the log, or ""."""
        if not self._stopped:
            return ""
        self._process.send_signal(signal.SIGCONT)
        return "the fork server was stopped; it is continued to end the run"

    @property
    def _stopped(self) -> bool:
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2][1:2] in ("T", "t")

    def request(self, spec: WorkerSpec, descriptors: Sequence[int]) -> bool:
        """Request a worker; its Forked message follows, or `receive` reports the end.

        Args:
            spec: The worker's spec.
            descriptors: Descriptors for the worker, in the order that the spec refers to.

        Returns:
            False if there is no room: the server takes no request while it imports modules.

        Raises:
            ControlError: The fork server takes no request.
        """
        try:
            socket.send_fds(
                self._sock, [self._encode(spec)], list(descriptors), socket.MSG_DONTWAIT
            )
            return True
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # it has ended; what it has sent before is still to be received
        except OSError as error:
            raise ControlError(
                f"cannot request the worker of {spec.name}: {self.describe()} ({error.strerror})",
                remedy="Run it again; if it happens again, look whether the machine is overloaded.",
            ) from error

    def receive(self) -> Forked | Exited | None:
        """Return a waiting message, or None.

        Raises:
            ControlError: The fork server has ended.
        """
        while True:
            try:
                packet = self._receive_packet()
            except BlockingIOError:
                return None
            if not packet:
                raise self._ended()
            message = self._decoder.decode(packet)
            assert not isinstance(message, Left)  # these come when it ends
            if not isinstance(message, Importing):
                return message
            self._importing = message.module

    def _ended(self) -> ControlError:
        process = "the process that starts the modules (mlink.worker.forking.forkserver)"
        if self._importing:
            return ControlError(
                f"{process} {self._end()} while it imported {self._importing}",
                remedy=crash_remedy(
                    f"Correct or remove the package of {self._importing}: its import ends the "
                    f"program. It can be looked at by: python -c 'import {self._importing}'"
                ),
            )
        return ControlError(
            f"{process} {self._end()}",
            remedy=crash_remedy(
                "The run ends, and its modules close their files. Run it again; `dmesg` "
                "shows whether the system has killed it because memory was short."
            ),
        )

    def _receive_packet(self) -> bytes:
        try:
            return self._sock.recv(1 << 16, socket.MSG_DONTWAIT)
        except ConnectionResetError:
            # it ended before it read all that was sent; its own last messages follow the error
            return self._sock.recv(1 << 16, socket.MSG_DONTWAIT)

    def _end(self) -> str:
        try:
            code = self._process.wait(_EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            return "has closed its connection"
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def finish(self, hurried: Callable[[], bool] = lambda: False) -> list[Left]:
        """Let the server end, once no worker runs; return what modules had left, and it has ended.

        What a server that was killed, or is late, has not ended is ended here.

        Args:
            hurried: Whether the server is not waited for any more; asked several times a second.
        """
        left: list[Left] = []
        begun, shown = time.monotonic(), False
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(_LOOK_S)
            while not hurried() and (waited_s := time.monotonic() - begun) < _FINISH_S:
                self.rouse()
                if waited_s > _SHOWN_AFTER_S and not shown:
                    shown = True
                    log.warning(
                        "the fork server (process %d) still ends what modules have left; the run "
                        "waits up to %.0f s for it, and no longer after a third Ctrl-C",
                        self._process.pid,
                        _FINISH_S - waited_s,
                        extra={"of_wall_clock": True},
                    )
                try:
                    packet = self._sock.recv(1 << 16)
                except TimeoutError:
                    continue
                if not packet:
                    break
                message = self._decoder.decode(packet)
                if isinstance(message, Left):
                    left.append(message)
            else:
                self._process.kill()
        self.close()
        if self._process.returncode != 0:
            left += end_run(self._folder)[0]
        return left

    def end(self) -> list[Left]:
        """End a server that has forked nothing, also while it imports.

        Returns:
            Processes of the run that were there all the same, and are ended.
        """
        for stop in (self._process.terminate, self._process.kill):
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILLED_WAIT_S)
                break
        self.close()
        return end_run(self._folder)[0]

    def close(self) -> None:
        """End the server; workers that still run notice that the engine has gone."""
        self._sock.close()
        try:
            self._process.wait(_EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # in a wait that nothing ends
                self._process.wait(_KILLED_WAIT_S)
