"""The script interface of Syntalos, implemented by mlink: `import syntalos_mlink as syl`.

Names, types and units are those of Syntalos. Times are µs since the start of the run (ms or s where
a name has it) on the master timer, which all modules share. Names of Syntalos 2.x (Firmata…) work
beside those of 3.x. Functions and methods raise SyntalosPyError. Guide: docs/scripting.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlink.metadata import MetaSize
from mlink.scripting.callbacks import check_function
from mlink.scripting.edl import EdlDataset, EdlGroup
from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.legacy import (
    FirmataControl,
    FirmataControlKind,
    FirmataData,
    FloatSignalBlock,
    VectorDouble,
    new_firmatactl,
)
from mlink.scripting.lines import HwInputLine, HwOutputLine
from mlink.scripting.link import get_link as _link
from mlink.scripting.ports import InputPort, OutputPort
from mlink.scripting.standalone import SyntalosLink, init_link
from mlink.types import (
    ControlCommand,
    ControlCommandKind,
    DataType,
    Frame,
    LineCommand,
    LineCommandKind,
    LineModeFlags,
    LineReading,
    SignalBlockF32,
    SignalBlockI32,
    SignalBlockU16,
)

if TYPE_CHECKING:
    from mlink.sync import SecondaryClockSynchronizer, TimeSyncStrategy

FirmataCommandKind = FirmataControlKind
IntSignalBlock = SignalBlockI32

__all__ = [
    "ControlCommand",
    "ControlCommandKind",
    "DataType",
    "EdlDataset",
    "EdlGroup",
    "FirmataCommandKind",
    "FirmataControl",
    "FirmataControlKind",
    "FirmataData",
    "FloatSignalBlock",
    "Frame",
    "HwInputLine",
    "HwOutputLine",
    "InputPort",
    "IntSignalBlock",
    "LineCommand",
    "LineCommandKind",
    "LineModeFlags",
    "LineReading",
    "MetaSize",
    "OutputPort",
    "SecondaryClockSynchronizer",
    "SignalBlockF32",
    "SignalBlockI32",
    "SignalBlockU16",
    "SyntalosLink",
    "SyntalosPyError",
    "TimeSyncStrategy",
    "VectorDouble",
    "await_data",
    "call_on_show_display",
    "call_on_show_settings",
    "get_input_port",
    "get_output_port",
    "init_link",
    "is_running",
    "new_firmatactl_with_id",
    "new_firmatactl_with_id_name",
    "new_firmatactl_with_name",
    "new_line_command",
    "println",
    "raise_error",
    "save_settings",
    "schedule_delayed_call",
    "time_since_start_msec",
    "time_since_start_usec",
    "wait",
    "wait_sec",
]


# `| Any` instead of `| None`: a script need not check for the ports that its own bench declares.
def get_input_port(id: str) -> InputPort | Any:
    """Return the input port with this id; None when the bench declares none.

    Usually called at the top level of the script. Set its `on_data` before the run starts.
    """
    return _link().input_port(id)


def get_output_port(id: str) -> OutputPort | Any:
    """Return the output port with this id; None when the bench declares none.

    Usually called at the top level of the script. Items can be submitted from `start()` on.
    """
    return _link().output_port(id)


def time_since_start_msec() -> int:
    """Return the time since the start of the run in ms."""
    return _link().time_usec() // 1000


def time_since_start_usec() -> int:
    """Return the time since the start of the run in µs; 0 before it."""
    return _link().time_usec()


def is_running() -> bool:
    """Return whether the run lasts; False before its start and once a stop was requested.

    Loops in `run()` have to check it and return when it is False; one that does not is interrupted.
    """
    return _link().running


def await_data(timeout_usec: int = -1) -> None:
    """Wait for data and pass it to the ports' `on_data` functions.

    Delayed calls are made meanwhile too.

    Args:
        timeout_usec: Longest wait in µs; it returns as soon as something was delivered. -1 serves
            until a stop is requested.
    """
    _link().await_data(timeout_usec)


def wait(msec: int) -> None:
    """Wait for a whole time on the master timer, and deliver data meanwhile.

    It works in every phase, also at the top level of the script, in `prepare()` and in `stop()`. A
    stop does not end it: the run waits for it, at most two minutes. `time.sleep` would deliver
    nothing.

    Args:
        msec: Time to wait, in ms.
    """
    _link().wait_msec(msec)


def wait_sec(sec: int) -> None:
    """Wait for a whole time on the master timer, and deliver data meanwhile, as `wait` does.

    Args:
        sec: Time to wait, in s.
    """
    _link().wait_sec(sec)


def schedule_delayed_call(delay_msec: int, callable_fn: Callable[[], object]) -> None:
    """Call a function once, `delay_msec` ms from now; returns at once.

    The call is made in the script's thread, while it waits for data.

    Args:
        delay_msec: Delay in ms, 0 or more.
        callable_fn: A function without arguments.

    Raises:
        SyntalosPyError: The delay is negative, or the function takes arguments.
    """
    _link().call_later(delay_msec, callable_fn)


def raise_error(message: str) -> None:
    """End the run as failed, with this message.

    It does not raise: the script goes on until it returns, with `is_running()` False.
    """
    _link().raise_error(message)


def println(text: str) -> None:
    """Print a line and flush; it is shown and kept in the log of the run."""
    _link().print_line(text)


def new_line_command(kind: LineCommandKind, line_id: int, value: int = 0) -> LineCommand:
    """Return a new line command, for `submit` of an output port of type LineCommand.

    Args:
        kind: What is requested of the board.
        line_id: Number of the line, 0 to 65535.
        value: Value to write, 0 to 4294967295.
    """
    return LineCommand(kind, line_id, value)


def call_on_show_settings(callable_fn: Callable[[bytes], object]) -> None:
    """Take the function that shows the script's settings (2.x; today SyntalosLink).

    `mlink settings BENCH MODULE` calls it; a run does not.

    Args:
        callable_fn: A function of the settings that were saved, as bytes.
    """
    check_function(callable_fn, "callable_fn of call_on_show_settings()", "settings")
    _link().on_show_settings = callable_fn


def call_on_show_display(callable_fn: Callable[[], object]) -> None:
    """Take the function that shows the script's window (2.x; today SyntalosLink).

    It is called before the run starts, where the module has `show_display = true`.
    """
    check_function(callable_fn, "callable_fn of call_on_show_display()")
    _link().on_show_display = callable_fn


def save_settings(settings: bytes) -> None:
    """Keep the script's settings for its next run (2.x; today SyntalosLink).

    The script's function `set_settings`, if it has one, gets them before the next `prepare()`.

    Raises:
        SyntalosPyError: They are not bytes.
    """
    _link().save_settings(settings)


def new_firmatactl_with_id_name(kind: FirmataControlKind, pin_id: int, name: str) -> FirmataControl:
    """Return a new 2.x command for a pin, with its number and its name.

    Args:
        kind: What is requested; NEW_DIG_PIN and NEW_ANA_PIN register the name.
        pin_id: Number of the pin.
        name: Name of the pin.
    """
    return new_firmatactl(kind, pin_id, name)


def new_firmatactl_with_id(kind: FirmataControlKind, pin_id: int) -> FirmataControl:
    """Return a new 2.x command for a pin."""
    return new_firmatactl(kind, pin_id)


def new_firmatactl_with_name(kind: FirmataControlKind, name: str) -> FirmataControl:
    """Return a new 2.x command for the pin that is registered under this name.

    Submitting it raises SyntalosPyError when no pin is.
    """
    return new_firmatactl(kind, pin_name=name)


if not TYPE_CHECKING:  # with it, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        """Import rarely used names when they are used; propose the nearest for unknown ones."""
        if name in {"SecondaryClockSynchronizer", "TimeSyncStrategy"}:
            import mlink.sync

            return getattr(mlink.sync, name)
        message = f"syntalos_mlink has no '{name}'"
        if not name.startswith("_"):
            from mlink.proposals import nearest

            close = nearest(name, __all__)
            message += f": did you mean '{close}'?" if close else f" (it has: {', '.join(__all__)})"
        raise AttributeError(message, name=name)

    def __dir__() -> list[str]:
        """Return the names of the interface."""
        return [*__all__, "__all__", "__doc__", "__name__"]
