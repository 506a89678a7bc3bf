"""The run's end of a view: starts the program that serves the page, and passes on what happens.

It is an observer of the run. Nothing in it waits for the program while the run lasts: what it does
not read in time is left out. Without the program the run goes on.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from mlink.bench import Bench
from mlink.closing import ClosesOnExit
from mlink.devices import Simulation
from mlink.engine.status import Phase, RunObserver, RunResult, RunStatus, StreamStatus
from mlink.errors import MlinkError
from mlink.modules.actions.catalog import UserControlSettings
from mlink.tap.attach import add_tap, with_second_sources
from mlink.tap.catalog import TapStream, view_type
from mlink.types import DataType
from mlink.view.guard import Tokens, new_tokens
from mlink.view.messages import (
    Begins,
    Ended,
    Failed,
    LogLine,
    ShownBench,
    ShownModule,
    ShownPort,
    ShownTarget,
    Status,
    Stop,
    Stream,
    Subscriber,
)
from mlink.view.program import Config, Listening
from mlink.view.run.line import Line
from mlink.view.run.stepping import Steps
from mlink.view.server import Address

_START_S = 30.0
_END_S = 5.0
_BEHIND_BYTES = 1 << 20
"""Bytes that wait for the program; with more, lines of the log and snapshots are left out."""
_LINE_LENGTH = 4_000


def with_view(bench: Bench, link: ViewLink, *, commanded: Sequence[TapStream] = ()) -> Bench:
    """Return a bench with the module that feeds a view.

    Args:
        bench: The bench; it is not changed.
        link: The view.
        commanded: What pages may command, of `mlink.tap.attach.commandable`.
    """
    if commanded:
        bench = with_second_sources(bench, commanded, view_type)
    return add_tap(
        bench, link.socket_path, tap=view_type, types=tuple(DataType), commanded=commanded
    )


class ViewLink(ClosesOnExit):
    """Starts the program of a view, and is an observer of the run that it shows.

    Args:
        bench: The bench that runs.
        address: Where to serve.
        observer: Another observer of the run, which is called first.
        duration_s: Length of the run in s, if it is known.
        served_at: Socket of a program that serves the page already, as `mlink view FOLDER` does;
            then `address` is not used, and there are no links.
        commanded: What pages may command, of `mlink.tap.attach.commandable`.
        no_control: Why pages may command nothing else; "" where they may command all.
    """

    def __init__(
        self,
        bench: Bench,
        address: Address,
        observer: RunObserver,
        *,
        duration_s: float | None = None,
        served_at: Path | None = None,
        commanded: Sequence[TapStream] = (),
        no_control: str = "",
    ) -> None:
        self.on_stop: Callable[[str], None] = lambda _reason: None
        """Called with the reason when a page stops the run."""
        self._bench = bench
        self._address = address
        self._observer = observer
        self._duration_s = duration_s
        self._tokens: Tokens = new_tokens()
        self._port = 0
        self._elapsed_s = 0.0
        self._line = Line(self._on_loss)
        self._left_out = 0
        self._program: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._steps: Steps | None = None
        self._served_at = served_at
        self._commanded = commanded
        self._no_control = no_control

    @property
    def socket_path(self) -> Path:
        """The socket at which the program listens for the run and its feed."""
        if self._served_at is not None:
            return self._served_at
        assert self._folder is not None
        return self._folder / "view"

    @property
    def url(self) -> str:
        """The link for who leads the run, with its token."""
        return self._address.url(self._port, self._tokens.owner)

    @property
    def guest_url(self) -> str:
        """The link for who may only look."""
        return self._address.url(self._port, self._tokens.guest)

    def __enter__(self) -> Self:
        try:
            if self._served_at is None:
                self._folder = Path(tempfile.mkdtemp(prefix="mlink-view-"))
                self._start()
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def steps_of(
        self, bench: Bench, simulation: Callable[[], Simulation | None], *, stands: bool
    ) -> Steps:
        """Let pages step through the run, which is in virtual time.

        Args:
            bench: The bench that runs.
            simulation: Returns its simulated devices.
            stands: Whether the run stands at its start until a page lets it go on.
        """
        self._steps = Steps(self.socket_path, simulation, bench.dir, stands=stands)
        return self._steps

    def close(self) -> None:
        """End the program; a page keeps showing the last it has got."""
        if self._steps is not None:
            self._steps.close()
        self._line.close()
        if (program := self._program) is not None:
            for pipe in (program.stdin, program.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                program.wait(_END_S)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- of the run ------------------------------------------------------------------------------

    def on_status(self, status: RunStatus) -> None:
        """Pass on a snapshot, and handle what pages have asked for."""
        self._observer.on_status(status)
        self._elapsed_s = status.elapsed_s
        if self._steps is not None and status.phase is Phase.RUN:
            self._steps.begin()
        if self._line.waiting_bytes < _BEHIND_BYTES:
            streams = [_stream(each) for each in status.streams]
            phase = status.phase.value
            self._line.put(Status(phase, status.elapsed_s, streams, dict(status.module_status)))
        self._line.flush()
        for message in self._line.receive():
            if isinstance(message, Stop):
                self.on_stop(message.reason)

    def on_log(self, module: str, level: int, message: str) -> None:
        """Pass on a line of a log."""
        self._observer.on_log(module, level, message)
        self._put_line(module, level, message)

    def on_output(self, module: str, text: str) -> None:
        """Pass on what a script printed."""
        self._observer.on_output(module, text)
        self._put_line(module, 0, text.rstrip("\n"))

    def conclude(self, result: RunResult) -> None:
        """Pass on how the run ended; waits up to 1 s until the program has read it."""
        if self._steps is not None:
            self._steps.close()
        self._line.put(
            Ended(
                success=result.success,
                failures=[
                    Failed(each.module, each.phase, each.message, each.remedy)
                    for each in result.failures
                ],
                stop_reason=result.stop_reason,
                duration_s=result.duration_s,
                hints=result.hints,
                reports=result.reports,
                streams=[_stream(each) for each in result.streams],
                recording=str(result.recording_dir.resolve()) if result.recording_dir else "",
            )
        )
        self._line.flush(1.0)

    # -- the program -----------------------------------------------------------------------------

    def _start(self) -> None:
        config = Config(
            socket=str(self.socket_path),
            address=self._address,
            owner=self._tokens.owner,
            guest=self._tokens.guest,
        )
        program = self._program = subprocess.Popen(
            [sys.executable, "-m", "mlink.view.program"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the run. Not a session: the kernel would give that as much of the
            # processor as all modules together, whatever its nice value (sched(7), autogroup).
            process_group=0,
        )
        assert program.stdin is not None
        program.stdin.write(msgspec.json.encode(config) + b"\n")
        program.stdin.flush()
        listening = self._listening()
        if listening.error:
            raise MlinkError(
                f"the view {listening.error}", remedy="Choose another port: --view-at HOST:PORT."
            )
        self._port = listening.port

    def _begin(self) -> None:
        """Connect to the program, and describe the bench."""
        try:
            self._line.connect(self.socket_path)
        except OSError as error:
            raise MlinkError(
                f"the program of the view is not there ({error})", remedy="Start the run again."
            ) from error
        self._line.put(Begins(self._shown()))
        self._line.flush()

    def _shown(self) -> ShownBench:
        bench, why = self._bench, self._no_control
        targets = [
            ShownTarget(each.stream, each.data_type.name, _lines(bench, each))
            for each in self._commanded
        ]
        return ShownBench(
            bench.name,
            str(bench.path),
            bench.time or "real",
            self._duration_s,
            _shown_modules(bench),
            targets,
            why if targets or why else "no module of this bench takes commands",
        )

    def _listening(self) -> Listening:
        """Return what the program prints when it serves.

        Raises:
            MlinkError: It has ended, or does not serve in time.
        """
        assert self._program is not None
        assert self._program.stdout is not None
        out, data = self._program.stdout, b""
        deadline = time.monotonic() + _START_S
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(out.fileno(), 4096) if ready else b""
            if not more:
                raise MlinkError(
                    "the program of the view did not start",
                    remedy="See what it prints; run without --view meanwhile.",
                )
            data += more
        return msgspec.json.decode(data, type=Listening)

    def _put_line(self, module: str, level: int, text: str) -> None:
        if self._line.waiting_bytes > _BEHIND_BYTES:
            self._left_out += 1
            return
        if self._left_out:
            text = f"… {self._left_out} lines left out …\n{text}"
            self._left_out = 0
        self._line.put(LogLine(module, level, text[:_LINE_LENGTH], self._elapsed_s))
        self._line.flush()

    def _on_loss(self, _why: str) -> None:
        self._observer.on_log("", logging.WARNING, "the view has ended: the run goes on without it")


def _shown_modules(bench: Bench) -> list[ShownModule]:
    modules = []
    for module in bench.modules.values():
        sources = {
            each.port: f"{each.source_module}.{each.source_port}" for each in module.connections
        }
        modules.append(
            ShownModule(
                name=module.name,
                type=module.type.id,
                title=module.type.title,
                category=module.type.category.value,
                device=bench.devices.get(module.device or "", module.device or ""),
                inputs=[
                    ShownPort(port.id, port.data_type.name, sources.get(port.id, ""))
                    for port in module.inputs
                ],
                outputs=[ShownPort(port.id, port.data_type.name) for port in module.outputs],
            )
        )
    return modules


def _lines(bench: Bench, target: TapStream) -> list[int]:
    """Return the lines of a board that modules `hwline-userctl` are there to set."""
    name, _, port = target.stream.partition(".")
    sources = {each.source_module for each in bench.modules[name].connections if each.port == port}
    found = (bench.modules[each].settings for each in sources)
    return sorted(
        control.pin_id
        for settings in found
        if isinstance(settings, UserControlSettings)
        for control in settings.output_ctls
    )


def _stream(stream: StreamStatus) -> Stream:
    return Stream(
        name=stream.name,
        data_type=stream.data_type,
        sent=stream.sent,
        rate_hz=stream.rate_hz,
        lost_at_source=stream.lost_at_source,
        subscriptions=[
            Subscriber(
                module=each.module,
                port=each.port,
                received=each.received,
                lost=each.lost,
                queued=each.queued,
                queue_limit=each.queue_limit,
                not_taken=each.not_taken,
            )
            for each in stream.subscriptions
        ],
    )
