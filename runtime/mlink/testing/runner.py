"""`ScriptRunner`: runs a user's script in a plain test, on a clock that the test moves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mlink.bench import load_bench
from mlink.errors import BenchError, MlinkError, ModuleError, ScriptError
from mlink.modules.script.pyscript import ScriptModule
from mlink.modules.script.settings import ScriptPort, ScriptSettings
from mlink.proposals import proposal
from mlink.scripting.items import as_stream_item
from mlink.scripting.link import has_link
from mlink.testing.context import RunnerContext
from mlink.testing.ports import RunnerOutput
from mlink.testing.process_state import ProcessState
from mlink.testing.turns import ScriptThread
from mlink.types import ControlCommand, ControlCommandKind


class ScriptRunner:
    """Runs one script without a bench; use it in a `with` statement.

    Master time starts at 0 and moves only in `run_for()`. The script has a thread of its own and
    takes turns with the test: whenever a method returns, the script waits. While a runner is open,
    the working folder is the script's. One runner may be open at a time.

    Methods that let the script run raise ScriptError when it fails or does not wait within
    `patience_s`; the message begins with the script's file and line. Methods that are called in the
    wrong order, and unknown port ids, raise BenchError.

    Args:
        script: Path of the script.
        inputs: Type of each input port by id, such as {"readings": "LineReading"}.
        outputs: Type of each output port by id.
        metadata: Metadata of input streams by port id.
        name: Name of the module.
        patience_s: Real time in s that the script may compute without waiting.

    Raises:
        BenchError: There is no such script, or a port's type is unknown.
        ScriptError: Another runner is open.
    """

    def __init__(
        self,
        script: Path | str,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        name: str = "script",
        patience_s: float = 10.0,
    ) -> None:
        path = Path(script).absolute()
        settings = ScriptSettings(
            script=path.name, ports_in=_ports(inputs or {}), ports_out=_ports(outputs or {})
        )
        if problems := settings.check(path.parent):
            raise BenchError("; ".join(problems), remedy="Correct the call of ScriptRunner.")
        if has_link():
            raise ScriptError(
                "another script has the link of this process",
                remedy="Close the other ScriptRunner first: use it in a `with` statement.",
            )
        self._folder = path.parent
        self._thread = ScriptThread(name, patience_s)
        self._context = RunnerContext(
            name, settings, path.parent, metadata or {}, self._thread.pause
        )
        self._state = ProcessState()
        self._module = ScriptModule(self._context)
        self._prepared = False
        self._closed = False

    @classmethod
    def from_bench(
        cls,
        bench: Path | str,
        module: str = "",
        *,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        patience_s: float = 10.0,
    ) -> Self:
        """Return a runner for a script module of a bench, with its ports.

        Args:
            bench: The bench file, or its folder.
            module: Name of the module; empty takes the only script of the bench.
            metadata: Metadata of input streams by port id.
            patience_s: Real time in s that the script may compute without waiting.

        Raises:
            BenchError: The bench is wrong, or has no such script module.
        """
        loaded = load_bench(Path(bench))
        scripts = {
            name: found.settings
            for name, found in loaded.modules.items()
            if isinstance(found.settings, ScriptSettings)
        }
        if not module and len(scripts) == 1:
            module = next(iter(scripts))
        if module not in scripts:
            raise BenchError(
                f"{loaded.path} has no script module '{module}'",
                remedy=proposal(module, scripts, "script modules"),
            )
        settings = scripts[module]
        return cls(
            loaded.dir / settings.script,
            inputs={port.id: port.data_type for port in settings.ports_in},
            outputs={port.id: port.data_type for port in settings.ports_out},
            metadata=metadata,
            name=module,
            patience_s=patience_s,
        )

    # the script's life ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Load the script and call its `prepare()`.

        Raises:
            ScriptError: It fails, or returns False.
        """
        self._require(not self._closed, "the runner is closed")
        self._require(not self._prepared, "the script is prepared already")
        self._prepared = True
        try:
            self._do("prepare", self._module.prepare)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Call the script's `start()` and `run()`, until its first wait; prepare it if needed.

        Time that `start()` waits passes at once.
        """
        if not self._prepared:
            self.prepare()
        self._require(not self._closed, "the runner is closed")
        self._require(not self._context.started, "the script runs already")
        for port in self._context.outputs.values():
            port.open()
        self._context.started = True
        self._context.limit_usec = None  # start() may wait, and no test moves time meanwhile
        self._do("start", self._module.start)
        for port in self._context.outputs.values():
            port.frozen = True
        self._context.frozen = True
        self._context.limit_usec = self.time_usec
        self._do("run", self._run)

    def run_for(self, duration_usec: int) -> None:
        """Move master time forward by `duration_usec` µs.

        Items and delayed calls that are due meanwhile reach the script in the order of their times.
        0 lets the script handle what is due now.
        """
        self._require(duration_usec >= 0, "time cannot move back")
        self._require_running()
        end = self.time_usec + duration_usec
        self._context.limit_usec = end
        self._do("run", None)
        if self._context.alive:
            self._context.clock.time_usec = end

    def feed(self, port: str, item: Any, *, at_usec: int | None = None) -> None:
        """Send an item to an input of the script.

        Args:
            port: Id of the input port.
            item: What a source would submit to a port of this type.
            at_usec: Master time of its arrival in µs, for a later `run_for`; None is now.

        Raises:
            StreamError: The item is not of the port's type.
        """
        target = _port(self._context.inputs, port, "input")
        accepted = target.accept(as_stream_item(item, target.data_type))
        if at_usec is not None:
            self._require(at_usec >= self.time_usec, f"{at_usec} µs has passed")
        else:
            self._require_running()
        when = self.time_usec if at_usec is None else at_usec
        self._context.call_at(when, lambda: target.deliver(accepted, self._context.clock.time_usec))
        if at_usec is None:
            self.run_for(0)

    def set_value(self, name: str, value: bool | float) -> None:
        """Set a value that the script offers (`mlink.script.offer`), as a person does by the page.

        Args:
            name: Its name.
            value: The new value; it is set when the script waits.

        Raises:
            ModuleError: The script offers no such value, or refuses it: the run goes on.
        """
        self._require_running()
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        command = ControlCommand(ControlCommandKind.CUSTOM, command=f"{name}={text}")
        refused: list[MlinkError] = []

        def change() -> None:
            try:
                if self._context.set_value is None:
                    raise ModuleError("the script offers no values")
                self._context.set_value(command)
            except MlinkError as error:
                refused.append(error)

        self._context.call_at(self.time_usec, change)
        self.run_for(0)
        if refused:
            raise refused[0]

    def stop(self) -> None:
        """End the run and close.

        What has arrived is delivered, then the script's `stop()` is called. What was sent can still
        be read afterwards.
        """
        self._require(not self._closed, "the runner is closed")
        try:
            if self._context.started:
                self._end_run()
        finally:
            self.close()

    def close(self) -> None:
        """Close without calling the script's `stop()`; what was sent can still be read.

        Restores the working folder, `sys.path` and the imported modules. Calling it again does
        nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._context.stop_asked = True
        with contextlib.suppress(BaseException):  # the run is given up, errors included
            if self._thread.busy:
                self._thread.go_on()
        self._module.close()
        self._thread.close()
        self._state.restore(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is None and not self._closed:
            self.stop()
        else:
            self.close()

    # state ---------------------------------------------------------------------

    @property
    def time_usec(self) -> int:
        """Master time, µs since the start."""
        return self._context.clock.time_usec

    @property
    def is_running(self) -> bool:
        """Whether the run was started, and neither stopped nor failed."""
        return self._context.alive and not self._closed

    @property
    def globals(self) -> dict[str, Any]:
        """The script's global variables and functions."""
        return self._module.globals

    def sent(self, port: str) -> list[Any]:
        """Return all items that the script has sent to an output port.

        Items that `take` has returned are not among them. Frames and blocks are copies.
        """
        return self._output(port).items.copy()

    def take(self, port: str) -> list[Any]:
        """Return the items that the script has sent to an output port since the last `take()`.

        `sent` does not return them any more. Frames and blocks are copies.

        Args:
            port: Id of the output port.
        """
        output = self._output(port)
        items, output.items = output.items, []
        return items

    def metadata(self, port: str) -> dict[str, Any]:
        """Return the metadata that the script has set for an output port."""
        return dict(self._output(port).metadata)

    # inside -----------------------------------------------------------------------------------

    def _run(self) -> None:
        self._module.run()
        self._context.serve()

    def _end_run(self) -> None:
        context = self._context
        context.stop_asked = True
        context.limit_usec = None
        failed = context.failure is not None
        errors = []
        steps: list[tuple[str, Callable[[], object] | None]] = [("stop", self._module.stop)]
        if not failed:
            steps = [("run", None), ("drain", context.dispatch_due), *steps]
        for phase, step in steps:
            try:
                self._do(phase, step)
            except ScriptError as error:
                errors.append(error)
        for port in context.outputs.values():
            port.end()
        if errors:
            raise errors[0]

    def _do(self, phase: str, job: Callable[[], object] | None) -> None:
        """Let the script run until it waits: a new job, or with None the one that waits."""
        known = self._context.failure
        try:
            if job is not None:
                self._thread.begin(job)
            elif self._thread.busy:
                self._thread.go_on()
        except BaseException as error:
            self._context.fail(error)
            raise self._module.explain(error, phase) from error
        failure = self._context.failure
        if failure is not None and failure is not known:
            raise ScriptError(str(failure))

    def _output(self, id: str) -> RunnerOutput:
        return _port(self._context.outputs, id, "output")

    def _require_running(self) -> None:
        self._require(self._context.started, "the script has not been started: call start()")
        self._require(self.is_running, "the run has ended")

    def _require(self, condition: bool, otherwise: str) -> None:
        if not condition:
            raise BenchError(f"{self._context.name}: {otherwise}")


PortT = TypeVar("PortT")


def _port(ports: Mapping[str, PortT], id: str, kind: str) -> PortT:
    if id not in ports:
        raise BenchError(
            f"the script has no {kind} port '{id}'", remedy=proposal(id, ports, f"{kind} ports")
        )
    return ports[id]


def _ports(types: Mapping[str, str]) -> list[ScriptPort]:
    return [ScriptPort(port, data_type) for port, data_type in types.items()]
