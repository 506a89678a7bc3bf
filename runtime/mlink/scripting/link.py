"""The link between a script and its worker.

The functions of `syntalos_mlink` are free functions, as in Syntalos, so they find the worker by a
global of the process (`set_link`, `get_link`), the only global state of the script interface.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import mlink.module
from mlink.module import ModuleContext
from mlink.scripting import legacy
from mlink.scripting.callbacks import check_function
from mlink.scripting.errors import SyntalosPyError, script_error
from mlink.scripting.lines import PulseLengths
from mlink.scripting.offers import Offers
from mlink.scripting.ports import InputPort, OutputPort, Translate
from mlink.types import DataType

PortT = TypeVar("PortT", InputPort, OutputPort)

_WAIT_STEP_USEC = 5_000
_WAIT_SEC_STEP_USEC = 50_000
_WAITS_AFTER_STOP = 10_000
"""Waits after the stop before a script that goes on is interrupted; in virtual time, and with
`await_data`, they can return at once."""


class ScriptLink:
    """Implements the functions of `syntalos_mlink` on a module's context.

    Args:
        context: Context of the script's module.
        declared: Data type of each input port by id, spelled as in the bench. A port declared with
            a 2.x name ("FirmataData") delivers values of that type.
    """

    def __init__(
        self, context: ModuleContext[Any], declared: Mapping[str, str] | None = None
    ) -> None:
        self._context = context
        self.offers = Offers(context)
        """Values that the script offers."""
        self._ended = False
        self._waits_after_stop = 0
        as_syntalos = context.run_info.compat == "syntalos"
        self._pulses = PulseLengths(context.log, as_syntalos=as_syntalos)
        self._inputs: dict[str, InputPort] = {}
        self._outputs: dict[str, OutputPort] = {}
        self.on_show_settings: Callable[[bytes], object] | None = None
        """What shows the settings of a script of 2.x; `mlink settings` calls it."""
        self.on_show_display: Callable[[], object] | None = None
        """What shows the window of a script of 2.x."""
        self.saved_settings: bytes | None = None
        """What the script has saved in this run."""
        self.unknown_ports: list[str] = []
        """Ids that the script asked for and that do not exist; hints when it then fails on None."""
        commands = [
            port for port in context.outputs.values() if port.data_type is DataType.LineCommand
        ]
        readings = [
            port for port in context.inputs.values() if port.data_type is DataType.LineReading
        ]
        # With several boards, the first port of readings shares its names with the first port of
        # commands, and so on.
        paired = len(commands) == len(readings)
        shared = legacy.PinNames()
        names = [legacy.PinNames() if paired else shared for _ in commands]
        self._pins_out = dict(zip((port.id for port in commands), names, strict=True))
        self._pins_in = dict(zip((port.id for port in readings), names, strict=False))
        self._shared_pins = shared
        self.waited = False
        """Whether the script has waited by its link, which lets items be handled."""
        for input_port in context.inputs.values():
            self.add_input(input_port, (declared or {}).get(input_port.id, ""))
        for output_port in context.outputs.values():
            self.add_output(output_port)

    def add_input(self, port: mlink.module.InputPort, declared: str = "") -> InputPort:
        """Add an input port; `declared` is its type's name as the bench or script spells it.

        Types of Syntalos 2.x ("FirmataData") deliver items of those types; see `legacy.py`.
        """
        pins = self._pins_in.get(port.id, self._shared_pins)
        self._inputs[port.id] = InputPort(port, _translation(declared, pins))
        return self._inputs[port.id]

    def add_output(self, port: mlink.module.OutputPort) -> OutputPort:
        """Add an output port."""
        pins = self._pins_out.get(port.id, self._shared_pins)
        self._outputs[port.id] = OutputPort(port, pins, self._pulses.fit)
        return self._outputs[port.id]

    def input_port(self, id: str) -> InputPort | None:
        """Return the input port with this id, or None.

        An id that was not found is in `unknown_ports` from then on, for the message at the end.
        """
        return self._found(self._inputs, id)

    def output_port(self, id: str) -> OutputPort | None:
        """Return the output port with this id, or None.

        An id that was not found is in `unknown_ports` from then on, for the message at the end.
        """
        return self._found(self._outputs, id)

    def _found(self, ports: Mapping[str, PortT], id: str) -> PortT | None:
        if id not in ports:
            self.unknown_ports.append(id)
        return ports.get(id)

    def time_usec(self) -> int:
        """Return master time in µs."""
        return self._context.clock.now_usec()

    @property
    def running(self) -> bool:
        """Whether the run lasts and no stop was requested."""
        return self._context.running

    def await_data(self, timeout_usec: int) -> None:
        """Serve inputs, delayed calls and the engine; -1 until a stop is requested.

        Args:
            timeout_usec: Longest wait, in µs.

        Raises:
            SyntalosPyError: The timeout is not a number.
            KeyboardInterrupt: The script goes on after the stop.
        """
        self._note_wait()
        self._context.serve(_whole("timeout_usec of await_data()", timeout_usec))

    def wait_usec(self, duration_usec: int, step_usec: int) -> None:
        """Serve for a whole time, in every phase.

        Args:
            duration_usec: Time on the master timer, in µs.
            step_usec: Longest single wait, in µs.

        Raises:
            KeyboardInterrupt: The script goes on after the stop.
        """
        self._note_wait()
        self._context.serve_for(duration_usec, step_usec)

    def _note_wait(self) -> None:
        """Count a wait after the stop; a loop of them would print and send until it is killed.

        How far such a loop comes in the time until then depends on the machine.
        """
        self.waited = True
        if not self._context.stop_asked:
            return
        self._waits_after_stop += 1
        if self._waits_after_stop > _WAITS_AFTER_STOP:
            raise KeyboardInterrupt(f"it went on after the stop, for {_WAITS_AFTER_STOP:,} waits")

    def wait_msec(self, msec: int) -> None:
        """Serve for `msec` milliseconds, in every phase.

        Raises:
            SyntalosPyError: `msec` is not a number.
        """
        self.wait_usec(_whole("msec of wait()", msec, 1000), _WAIT_STEP_USEC)

    def wait_sec(self, sec: int) -> None:
        """Serve for `sec` seconds, in every phase.

        Raises:
            SyntalosPyError: `sec` is not a number.
        """
        self.wait_usec(_whole("sec of wait_sec()", sec, 1_000_000), _WAIT_SEC_STEP_USEC)

    def call_later(self, delay_msec: int, function: Callable[[], object]) -> None:
        """Call a function once, `delay_msec` ms from now, while the script serves data.

        Raises:
            SyntalosPyError: The delay is negative, or the function takes arguments.
        """
        delay_usec = _whole("delay_msec of schedule_delayed_call()", delay_msec, 1000)
        if delay_usec < 0:
            raise SyntalosPyError(f"the delay must not be negative: {delay_msec} ms")
        check_function(function, "callable_fn of schedule_delayed_call()")
        self._context.call_later(delay_usec, functools.partial(self._call_due, function))

    def _call_due(self, function: Callable[[], object]) -> None:
        if self._ended:
            return
        try:
            function()
        except Exception as error:
            if self._context.running:
                raise
            # Between prepare() and start() no caller would report the exception.
            self._context.fail(script_error(error, "a delayed call"))

    def hint_without_wait(self) -> None:
        """Send a hint when run() never waited: inputs and delayed calls had to wait for its end."""
        if self.waited or self._context.running:
            return
        if any(port.on_item is not None for port in self._context.inputs.values()):
            self._context.hint(
                "run() never waited, so no item was handled before it returned: call syl.wait(1) "
                "or syl.await_data(…) in its loop"
            )

    def hint(self) -> None:
        """Send hints on handles without a mode and on callbacks that nothing can call."""
        ports: list[InputPort | OutputPort] = [*self._inputs.values(), *self._outputs.values()]
        for port in ports:
            if text := port._hint():
                self._context.hint(text)

    def end(self) -> None:
        """Stop calling the script's functions, when its stop() has returned.

        Items and delayed calls that are still due are dropped.
        """
        self._ended = True
        for port in self._context.inputs.values():
            port.on_item = None

    def raise_error(self, message: str) -> None:
        """End the run as failed, with this message."""
        self._context.fail(str(message))

    def show_display(self) -> bool:
        """Show the script's display window; return False if it has none."""
        if self.on_show_display is not None:
            self.on_show_display()
        return self.on_show_display is not None

    def save_settings(self, data: object) -> None:
        """Keep the script's settings, which it gets before its next run.

        Raises:
            SyntalosPyError: They are not bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise SyntalosPyError(f"save_settings needs bytes, not {type(data).__name__}")
        self.saved_settings = bytes(data)

    def print_line(self, text: str) -> None:
        """Print a line and flush."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _translation(declared: str, pins: legacy.PinNames) -> Translate | None:
    if declared == "FirmataData":
        return functools.partial(legacy.to_firmata_data, names=pins)
    if declared == "FirmataControl":
        return legacy.to_firmata_control
    return legacy.to_float_block if declared == "FloatSignalBlock" else None


def _whole(what: str, value: object, factor: int = 1) -> int:
    """Return a number of units of `factor` µs as whole µs; `what` names it in messages."""
    if isinstance(value, int):
        return value * factor
    try:
        return round(float(value) * factor)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError, OverflowError):
        raise SyntalosPyError(f"{what} must be a number, not {value!r}") from None


_link: ScriptLink | None = None


def set_link(link: ScriptLink | None) -> None:
    """Set the link of this process; None removes it."""
    global _link
    _link = link


def has_link() -> bool:
    """Return whether this process has a link."""
    return _link is not None


def get_link() -> ScriptLink:
    """Return the link of this process.

    Raises:
        SyntalosPyError: There is none; the script was started by itself, without a bench.
    """
    if _link is None:
        raise SyntalosPyError(
            "there is no link to mlink yet: call init_link() first, or run this script as a "
            "module of a bench (mlink run BENCH)"
        )
    return _link
