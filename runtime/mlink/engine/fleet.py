"""All workers of a run: forks them, receives their messages and exit codes, kills the rest."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec

from mlink.closing import ClosesOnExit
from mlink.control import Output, Report, Waits, WorkerMessages
from mlink.engine.direct_output import EVERY_S
from mlink.engine.stalls.place import Place, place_of
from mlink.engine.workers import State, WorkerHandle
from mlink.errors import ControlError
from mlink.worker.forking.forkserver import Exited, Forked
from mlink.worker.forking.leftovers import log_left
from mlink.worker.forking.spawn import ForkServer
from mlink.worker_spec import WorkerSpec

Event = tuple[WorkerHandle, WorkerMessages | int]
"""A worker's message, or its exit code (negative: the signal that ended it)."""

UNKNOWN_EXIT = 1 << 16
"""Exit code of a worker whose fork server has gone: only its process's end can be seen."""

_KILL_WAIT_S = 3.0
_AT_ONCE = 64
"""Most messages of a worker in one pump: one that sends without end does not hold up the others."""
_AFTER_EXIT = 10_000
"""Most messages read after a worker's exit; its children may have its channel, and go on."""
_SERVER_REMEDY = (
    "If a package's import does not end, look at it by: python -X importtime -c 'import …'. If it "
    "was stopped (SIGSTOP, a debugger), run without that."
)


@dataclass(slots=True)
class StreamDescriptors:
    """The ends of a worker's streams: pipes, and memory with pipes for frames and blocks."""

    pipes_out: dict[str, list[int]] = field(default_factory=dict)
    queues_out: dict[str, list[int]] = field(default_factory=dict)
    losing_out: dict[str, list[bool]] = field(default_factory=dict)
    pipes_in: dict[str, tuple[int, int]] = field(default_factory=dict)
    arrays_out: dict[str, list[int]] = field(default_factory=dict)
    arrays_in: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def owned(self) -> set[int]:
        """Return all descriptors, to close them once the worker has its copies."""
        return {
            *chain.from_iterable(self.pipes_in.values()),
            *chain.from_iterable(self.pipes_out.values()),
            *chain.from_iterable(self.arrays_out.values()),
            *chain.from_iterable(self.arrays_in.values()),
        }


class Fleet(ClosesOnExit):
    """Owns the fork server and the workers; `close` kills workers that still run.

    Workers are added first and forked then: a worker's descriptors include doorbells of others.

    Args:
        preload: Modules that the fork server imports first.
        folder: The run's folder.
        fixed_hashes: Whether workers hash texts alike in each run.
        hurried: Whether `close` no longer waits for what modules have left to end by itself.
        clock_page: Page of the host's clock that all workers are passed; None without one.
    """

    def __init__(
        self,
        preload: Sequence[str],
        folder: Path,
        *,
        fixed_hashes: bool = False,
        clock_page: int | None = None,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder = folder
        self._hurried = hurried
        self._clock_page = clock_page
        self._server = ForkServer(preload, folder, fixed_hashes=fixed_hashes)
        self.workers: dict[str, WorkerHandle] = {}
        # epoll goes on where the limit of open files is lowered in mid-run: poll() fails then
        self._poll = select.epoll()
        self._poll.register(self._server.fileno(), select.EPOLLIN)
        self._by_fd: dict[int, WorkerHandle] = {}
        self._by_output: dict[int, WorkerHandle] = {}
        self._outputs = select.epoll()
        """What workers write directly; polled as one, but not at once after it was read."""
        self._outputs_from_s = 0.0
        """Time from which it is polled again (time.monotonic)."""
        self._poll.register(self._outputs.fileno(), select.EPOLLIN)
        self._pidfds: dict[int, WorkerHandle] = {}
        """Watched when the fork server, which reports exits, has gone."""
        self._ended: list[WorkerHandle] = []
        """Workers whose end was not reported."""
        self.last_events: list[Event] = []
        """After `close`: what was written since the last `pump` from outside."""

    def close(self) -> None:
        """Kill the workers that still run, and end the fork server and what modules have left."""
        self.rouse_server()
        self._kill_rest()
        forked = any(worker.pid for worker in self.workers.values())
        try:
            log_left(self._server.finish(self._hurried) if forked else self._server.end())
            for worker in self.workers.values():
                self.last_events += [(worker, each) for each in worker.output.read(last=True)]
        finally:
            for worker in self.workers.values():
                worker.close()
            for fd in self._pidfds:
                os.close(fd)
            self._outputs.close()
            self._poll.close()

    def add(self, worker: WorkerHandle) -> None:
        """Add a worker, before it is forked."""
        self.workers[worker.name] = worker
        self._by_fd[worker.channel.fileno()] = worker
        self._poll.register(worker.channel.fileno(), select.EPOLLIN)
        self._by_output[worker.output.read_fd] = worker
        self._outputs.register(worker.output.read_fd, select.EPOLLIN)

    def fork(self, spec: WorkerSpec, ends: StreamDescriptors) -> bool:
        """Request a worker, with the descriptors that its streams need.

        Args:
            spec: The worker's spec; the positions of the descriptors are added to it.
            ends: The worker's ends of its streams. All subscribers have been added before.

        Returns:
            Whether the fork server has room for the request; otherwise try again later.

        Raises:
            ControlError: The fork server has ended.
        """
        worker = self.workers[spec.name]
        descriptors = [
            worker.worker_sock.fileno(),
            worker.doorbell.fileno(),
            worker.output.write_fd,
        ]

        def pass_on(fd: int) -> int:
            descriptors.append(fd)
            return len(descriptors) - 1

        spec = msgspec.structs.replace(
            spec,
            clock_page=0 if self._clock_page is None else pass_on(self._clock_page),
            pipes_out={port: [pass_on(fd) for fd in fds] for port, fds in ends.pipes_out.items()},
            queues_out=ends.queues_out,
            losing_out=ends.losing_out,
            pipes_in={
                port: (pass_on(pipe), pass_on(store))
                for port, (pipe, store) in ends.pipes_in.items()
            },
            arrays_out={port: [pass_on(fd) for fd in fds] for port, fds in ends.arrays_out.items()},
            arrays_in={
                port: (pass_on(memory), pass_on(records), pass_on(returned))
                for port, (memory, records, returned) in ends.arrays_in.items()
            },
        )
        return self._server.request(spec, descriptors)

    def place_of(self, worker: WorkerHandle, bench_dir: Path) -> Place:
        """Return where a worker stands, or why it is not forked yet.

        Args:
            worker: The worker.
            bench_dir: The bench's folder: its files are the user's.
        """
        if not worker.pid:
            return Place(self._server.describe(), remedy=_SERVER_REMEDY)
        return place_of(worker, self._folder, bench_dir)

    def rouse_server(self) -> str:
        """Continue the fork server if it is stopped; return a text for the log, or ""."""
        return self._server.rouse()

    def watch(self, fd: int) -> None:
        """Let `pump` return also when this descriptor is readable."""
        self._poll.register(fd, select.EPOLLIN)

    def pump(self, timeout_s: float) -> Iterator[Event]:
        """Wait for at most `timeout_s` seconds and yield what has arrived.

        The messages of a worker come in their order, all of them before its exit code. Those
        beyond _AT_ONCE come with the next call, which then does not wait.

        Raises:
            ControlError: The fork server has ended, raised once; its workers can still be led to
                their end.
        """
        while self._ended:
            yield from self._exited(self._ended.pop(), UNKNOWN_EXIT)
        for each in self._by_fd.values():
            if each.channel.is_behind:
                each.flush()
        if self._outputs_from_s:
            timeout_s = min(timeout_s, self._wait_for_outputs_s())
        ready = [fd for fd, _ in self._poll.poll(max(0.0, timeout_s))]
        for fd in ready:
            if worker := self._by_fd.get(fd):
                yield from self._messages(worker)
            if worker := self._pidfds.pop(fd, None):
                self._poll.unregister(fd)
                os.close(fd)
                yield from self._exited(worker, UNKNOWN_EXIT)
        if self._outputs.fileno() in ready:
            yield from self._read_outputs()
        if self._server.fileno() in ready:
            yield from self._server_messages()

    def _wait_for_outputs_s(self) -> float:
        """Return how long the workers' output is not polled yet; when that is over, poll it."""
        left_s = self._outputs_from_s - time.monotonic()
        if left_s <= 0:
            self._outputs_from_s = 0.0
            self._poll.register(self._outputs.fileno(), select.EPOLLIN)
            return math.inf
        return left_s

    def _read_outputs(self) -> Iterator[Event]:
        self._poll.unregister(self._outputs.fileno())
        self._outputs_from_s = time.monotonic() + EVERY_S
        for fd, _ in self._outputs.poll(0):
            worker = self._by_output[fd]
            for message in worker.output.read():
                yield worker, message
            if worker.output.ended:
                self._outputs.unregister(fd)

    def _messages(self, worker: WorkerHandle, at_most: int = _AT_ONCE) -> Iterator[Event]:
        for _ in range(at_most):
            try:
                message = worker.channel.receive()
            except EOFError:
                worker.hung_up = True  # the fork server reports its exit code
                self._poll.unregister(worker.channel.fileno())
                del self._by_fd[worker.channel.fileno()]
                return
            if message is None:
                return
            yield worker, message
            if isinstance(message, Waits):
                return  # nothing follows before its next turn; if it does, poll finds it

    def _server_messages(self) -> Iterator[Event]:
        while message := self._receive():
            worker = self.workers[message.name]
            if isinstance(message, Forked):
                worker.pid = message.pid
                worker.worker_sock.close()  # else the worker's exit would not end the channel
                worker.output.hand_over()
                continue
            yield from self._exited(worker, message.code)

    def _receive(self) -> Forked | Exited | None:
        try:
            return self._server.receive()
        except ControlError:
            self._poll.unregister(self._server.fileno())
            self._watch_processes()
            raise

    def _exited(self, worker: WorkerHandle, code: int) -> Iterator[Event]:
        if worker.channel.fileno() in self._by_fd:
            # its last messages come before its exit code
            yield from self._messages(worker, _AFTER_EXIT)
        for message in worker.output.read(last=True):
            yield worker, message
        worker.exit_code = code
        worker.advance(State.GONE)
        yield worker, code

    def _watch_processes(self) -> None:
        """Watch the workers' processes themselves: the fork server has gone."""
        for worker in self.workers.values():
            if not worker.alive:
                continue
            try:
                fd = os.pidfd_open(worker.pid)
            except OSError:  # it has ended, or was never forked (its process id is 0)
                self._ended.append(worker)
                continue
            self._pidfds[fd] = worker
            self._poll.register(fd, select.EPOLLIN)

    def _kill_rest(self) -> None:
        """Kill the workers that still run and wait for their exit, at most _KILL_WAIT_S."""
        deadline = time.monotonic() + _KILL_WAIT_S
        self._pump_output(0.0)  # a worker may just have been forked
        for worker in self.workers.values():
            worker.signal(signal.SIGKILL)
        while any(worker.pid and worker.alive for worker in self.workers.values()):
            if time.monotonic() > deadline:
                return
            self._pump_output(0.1)

    def _pump_output(self, timeout_s: float) -> None:
        """Handle what arrives, and keep what was written."""
        with contextlib.suppress(ControlError):  # the fork server has gone: pump goes on
            for worker, message in self.pump(timeout_s):
                if isinstance(message, Output | Report):
                    self.last_events.append((worker, message))
