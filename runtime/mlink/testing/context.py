"""The module context of a script that runs without a bench, on a clock that a test moves.

Time moves only where the script waits, up to a limit that the test sets.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlink.clock import ManualClock
from mlink.errors import ModuleError
from mlink.metadata import Settable
from mlink.module import RunInfo
from mlink.modules.script.settings import ScriptSettings, script_ports
from mlink.storage.edl import Dataset
from mlink.testing.ports import RunnerInput, RunnerOutput
from mlink.types import ControlCommand
from mlink.waiting import ServiceLoop
from mlink.worker.virtual_time.agenda import Agenda

_WAIT_LIMIT_USEC = 250_000
_BUSY_CALLS = 10
"""Calls in a row that neither wait nor deliver, after which each further one takes time."""

_BUSY_USEC = 1_000
"""Time that such a call takes then, in µs; else a loop that never waits would never end."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)
"""Creation time of a test's run: as in a replay, modules change no settings of the lab."""

_CALLS_AFTER_STOP = 1_000
"""Calls after the stop until the script is interrupted: it will not end by itself."""


class RunnerContext:
    """Implements `mlink.module.ModuleContext` on a manual clock.

    Args:
        name: Name of the module.
        settings: Settings that declare the script's ports.
        folder: Folder of the script.
        metadata: Metadata of input streams by port id.
        at_limit: Called by a wait that has reached `limit_usec`, the master time up to which time
            may move (None: no limit). Returns when the limit was raised or the run is to end.
    """

    def __init__(
        self,
        name: str,
        settings: ScriptSettings,
        folder: Path,
        metadata: Mapping[str, Mapping[str, Any]],
        at_limit: Callable[[], None],
    ) -> None:
        inputs, outputs = script_ports(settings)
        self.name = name
        self.type_id = "pyscript"
        self.settings = settings
        self.inputs = {
            spec.id: RunnerInput(spec, dict(metadata.get(spec.id, {}))) for spec in inputs
        }
        self.outputs = {
            spec.id: RunnerOutput(
                spec,
                {
                    "src_mod_type": "pyscript",
                    "src_mod_name": name,
                    "src_mod_port_title": spec.title or spec.id,
                },
            )
            for spec in outputs
        }
        self.clock = ManualClock()
        self.log = logging.getLogger(f"mlink.module.{name}")
        self.waiting = ServiceLoop(f"io {name}", self.fail)
        self.device = None
        self.run_info = RunInfo(
            run_uuid=bytes(16),
            bench_name="test",
            bench_dir=folder,
            work_dir=Path(tempfile.gettempdir()),
            recording_dir=None,
            time_created=_LONG_AGO,
        )
        self.started = False
        self.stop_asked = False
        self.failure: BaseException | str | None = None
        self.status = ""
        self.reports: dict[str, float | str] = {}
        self.hints: list[str] = []
        self.frozen = False
        """Whether `start()` has returned."""
        self.set_value: Callable[[ControlCommand], object] | None = None
        """What takes changes of values that the script offers."""
        self.limit_usec: int | None = 0
        self._at_limit = at_limit
        self._agenda = Agenda()
        self._busy_calls = 0
        self._calls_after_stop = 0

    @property
    def alive(self) -> bool:
        """Whether the run lasts; unlike `running` this does not count as a call of the script."""
        return self.started and not self.stop_asked and self.failure is None

    @property
    def running(self) -> bool:
        """Whether the run lasts, for the script: many calls in a row take time.

        Otherwise a loop that only asks for it would never end, as the clock moves while the script
        waits.
        """
        self._note_call()
        return self.alive

    def create_dataset(self, preferred_name: str = "", group: str = "") -> Dataset | None:  # noqa: ARG002
        """Return None: nothing is recorded."""
        return None

    def fail(self, error: BaseException | str) -> None:
        """Keep the first failure; the run is over.

        The runner raises it in the test; later failures are consequences of it.
        """
        if self.failure is None:
            self.failure = error

    def request_stop(self, reason: str) -> None:  # noqa: ARG002
        """End the run as a success."""
        self.stop_asked = True

    def set_status(self, text: str) -> None:
        """Keep the status text."""
        self.status = text

    def report(self, key: str, value: float | str) -> None:
        """Keep the figure."""
        self.reports[key] = value

    def hint(self, text: str) -> None:
        """Keep the hint."""
        self.hints.append(text)

    def note_loss(self, what: str, remedy: str) -> None:
        """Keep it as a hint."""
        self.hints.append(f"{what}. {remedy}")

    def offer(self, values: Sequence[Settable], take: Callable[[ControlCommand], object]) -> None:  # noqa: ARG002
        """Keep what takes changes of the values.

        Raises:
            ModuleError: `start()` has returned.
        """
        if self.frozen:
            raise ModuleError("values are offered before start() has returned")
        self.set_value = take

    def refuse(self, why: str) -> None:
        """Do nothing: no person gives commands."""

    def serve(self, timeout_usec: int = -1) -> None:
        """Dispatch what is due, until a stop is requested (-1) or for one wait.

        Args:
            timeout_usec: Longest wait on the manual clock, in µs; −1: until a stop is requested.
        """
        if timeout_usec >= 0:
            self._step(timeout_usec)
            return
        self._note_call()
        while self.alive:
            self._step(_WAIT_LIMIT_USEC)

    def serve_for(self, duration_usec: int, step_usec: int) -> None:
        """Dispatch what is due for this whole time, in every phase; see `ModuleContext`."""
        end_usec = self.clock.time_usec + duration_usec
        while self.alive:
            if (left_usec := end_usec - self.clock.time_usec) <= 0:
                return
            self._step(min(left_usec, step_usec))
        self._note_call()
        self._agenda.pass_alone(self.clock, end_usec, moves=self.started)

    def call_later(self, delay_usec: int, call: Callable[[], object]) -> None:
        """Call once, `delay_usec` from now, at least 1 µs: chained calls cannot stop time."""
        self.call_at(self.clock.time_usec + max(1, delay_usec), call)

    def call_at(self, time_usec: int, call: Callable[[], object]) -> None:
        """Call once at this master time, while the script waits.

        Args:
            time_usec: Master time in µs; a time that has passed is due at the next wait.
            call: The function; its exceptions are the script's.
        """
        self._agenda.call_at(time_usec, call)

    def dispatch_due(self) -> bool:
        """Make all calls that are due, in order of time; return whether there were any."""
        return self._agenda.run_due(self.clock.time_usec)

    def _step(self, timeout_usec: int) -> None:
        """Wait once, until something is due, for at most `timeout_usec`."""
        if self.stop_asked or self.failure is not None:
            self._note_call()
            self.dispatch_due()
            return
        before = self.clock.time_usec
        self._wait_until(before + int(timeout_usec), wake=True)
        if self.dispatch_due() or self.clock.time_usec != before:
            self._busy_calls = 0
        else:
            self._note_call()

    def _wait_until(self, time_usec: int, *, wake: bool) -> None:
        """Move time forward, pausing at the limit; with `wake` a due call ends the wait."""
        while True:
            target = time_usec
            if wake and (due := self._agenda.next_usec) is not None:
                target = min(target, max(due, self.clock.time_usec))
            if self.limit_usec is None or target <= self.limit_usec:
                break
            self.clock.time_usec = max(self.clock.time_usec, self.limit_usec)
            if not self.alive:
                return
            self._at_limit()
            if not self.alive:
                return
        self.clock.time_usec = max(self.clock.time_usec, target)

    def _note_call(self) -> None:
        """Make time pass for a script that never waits; interrupt one that never stops."""
        if self.stop_asked or self.failure is not None:
            self._calls_after_stop += 1
            if self._calls_after_stop > _CALLS_AFTER_STOP:
                self._calls_after_stop = 0
                raise KeyboardInterrupt
            return
        self._busy_calls += 1
        if self.started and self._busy_calls > _BUSY_CALLS:
            self._wait_until(self.clock.time_usec + _BUSY_USEC, wake=False)
