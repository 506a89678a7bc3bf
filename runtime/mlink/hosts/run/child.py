"""The process of a run on a host: an engine of its own, so that a crash does not take the agent.

It is led by its agent through a socket. When that ends, the run does, in order.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from mlink.bench import Bench
from mlink.bench.subject import Subject
from mlink.engine.options import RunOptions
from mlink.engine.remote import Figures, Looked, StartAt, Wait
from mlink.engine.run import Engine
from mlink.engine.status import Failure, RunResult, RunStatus
from mlink.errors import HostError, MlinkError
from mlink.hosts.run import messages
from mlink.hosts.run.bridge import Link
from mlink.hosts.run.split import there
from mlink.storage.place import Storage

LENGTH: Final = struct.Struct("<I")
MOST_BYTES: Final = 64 << 20
_MOST_WAITING: Final = 10_000
_STEP_S: Final = 0.01
_START_S: Final = 300.0
"""How long a prepared run waits for its start."""
_LAST_S: Final = 10.0


def send(end: socket.socket, message: Any) -> None:
    """Send a message with its length before it."""
    data = messages.packed(message)
    end.sendall(LENGTH.pack(len(data)) + data)


def receive(end: socket.socket) -> bytes | None:
    """Return the next message; None at the end of the connection."""
    head = _exactly(end, LENGTH.size)
    if head is None:
        return None
    (size,) = LENGTH.unpack(head)
    return _exactly(end, size) if size <= MOST_BYTES else None


def _exactly(end: socket.socket, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        try:
            part = end.recv(min(size, 1 << 20))
        except OSError:
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Reports:
    """Sends what happens to the agent from a thread of its own: the engine never waits for it.

    Implements `RunObserver`.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._waiting: queue.Queue[Any] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._send_all, name="to agent", daemon=True)
        self._thread.start()

    def send(self, message: Any) -> None:
        """Send a message; one that finds no room is left out."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(messages.packed(message))

    def on_status(self, status: RunStatus) -> None:
        """Send a snapshot."""
        self.send(messages.Now(status))

    def on_log(self, module: str, level: int, message: str) -> None:
        """Send a line of a log."""
        self.send(messages.Logged(module, level, message[:20_000]))

    def on_output(self, module: str, text: str) -> None:
        """Send a line that a script printed."""
        self.send(messages.Printed(module, text[:20_000]))

    def finish(self, result: RunResult) -> None:
        """Send the result, and wait until all has left."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(messages.packed(messages.Over(result)), timeout=_LAST_S)
            self._waiting.put(None, timeout=_LAST_S)
        self._thread.join(_LAST_S)

    def _send_all(self) -> None:
        while (data := self._waiting.get()) is not None:
            with contextlib.suppress(OSError):  # the agent has gone
                self._end.sendall(LENGTH.pack(len(data)) + data)


class Led:
    """Implements `RunControl`: the run starts when the controller says so."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self.engine: Engine | None = None
        self.start: messages.Start | None = None

    def prepare(self, run_uuid: bytes, wait: Wait) -> None:
        """Do nothing: this host does not lead."""

    def await_start(self, wait: Wait) -> StartAt | None:
        """Wait for the controller's start, then until its moment.

        Raises:
            HostError: It does not come in time.
        """
        self._reports.send(messages.Ready())
        end_s = time.monotonic() + _START_S
        while self.start is None:
            if time.monotonic() > end_s:
                text = f"the controller did not start within {_START_S:g} s"
                raise HostError(text, remedy="Look at its log.")
            if not wait(_STEP_S):
                return None
        t0_ns = self.start.t0_ns
        while (left_ns := t0_ns - time.monotonic_ns()) > 0:
            if not wait(min(_STEP_S, left_ns / 1e9)):
                return None
        return StartAt(t0_ns, self.start.figures)

    def started(self, t0_ns: int) -> Figures:  # noqa: ARG002
        """Do nothing: this host does not lead."""
        return {}

    def look(self) -> Looked | None:
        """Do nothing: the agent does."""
        return None

    def ended(self, *, success: bool) -> None:  # noqa: ARG002
        """Report why the run ends here."""
        assert self.engine is not None
        for failure in self.engine.failures:
            self._reports.send(messages.Failed(failure))
        self._reports.send(messages.Ends(self.engine.stop_reason[:1000]))


def run(end: socket.socket) -> None:
    """Run what the agent sends, to the end."""
    data = receive(end)
    if data is None:
        return
    begin = messages.to_child.decode(data)
    reports = Reports(end)
    try:
        result = _run(end, begin, reports)
    except MlinkError as error:
        failure = Failure("", "set-up", error.message, error.remedy)
        result = RunResult(False, failures=[failure])
    reports.finish(result)


def _run(end: socket.socket, begin: messages.Begin, reports: Reports) -> RunResult:
    options = begin.options
    link = Link(begin.endpoint, begin.run, wait_s=options.prepare_timeout_s * 0.9)
    bench = there(begin.part, Path(begin.folder), link)
    led = Led(reports)
    engine = Engine(
        _with_subject(bench, options),
        RunOptions(
            out_dir=Path(begin.folder),
            name=begin.part.host,
            storage=Storage(order=("experiment-id",)),
            record=options.record,
            debug=options.debug,
            experimenter=options.experimenter,
            comment=options.comment,
            encode=False,
            attributes={"host": begin.part.host},
            run_uuid=bytes.fromhex(begin.run),
            clock_page=begin.clock_fd if begin.clock_fd >= 0 else None,
            control=led,
            load_timeout_s=options.load_timeout_s,
            prepare_timeout_s=options.prepare_timeout_s,
            start_timeout_s=options.start_timeout_s,
            stop_grace_s=options.stop_grace_s,
        ),
        reports,
    )
    led.engine = engine
    threading.Thread(target=_obey, args=(end, engine, led), name="agent", daemon=True).start()
    return engine.run()


def _with_subject(bench: Bench, options: messages.HostOptions) -> Bench:
    from dataclasses import replace

    return replace(bench, subject=Subject(id=options.subject, group=options.subject_group))


def _obey(end: socket.socket, engine: Engine, led: Led) -> None:
    """Run the thread that takes the agent's messages."""
    while (data := receive(end)) is not None:
        match messages.to_child.decode(data):
            case messages.Start() as start:
                led.start = start
            case messages.Stop(reason=reason, abort=abort):
                if abort:
                    engine.abort(reason)
                else:
                    engine.request_stop(reason)
    engine.request_stop("the agent of this host has ended")


def main() -> None:
    """Run one run; the descriptor of the agent's socket is the only argument."""
    logging.getLogger("mlink").setLevel(logging.INFO)
    with socket.socket(fileno=int(sys.argv[1])) as end:
        run(end)


if __name__ == "__main__":
    main()
