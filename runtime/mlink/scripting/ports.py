"""Ports of scripts: a module's ports with the method names of Syntalos.

They convert what a script submits, translate 2.x values, and turn errors into SyntalosPyError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

import mlink.module
from mlink.errors import StreamError
from mlink.metadata import OF_SOURCE, MetaSize
from mlink.scripting import legacy
from mlink.scripting import metadata as meta
from mlink.scripting.callbacks import check_function
from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.items import OF_2X, as_stream_item, fit_for
from mlink.types import LineCommand, LineCommandKind

Translate = Callable[[Any], Any]


def _as_it_is(command: LineCommand) -> LineCommand:
    return command


class InputPort:
    """An input of the script.

    Set `on_data` to a function of one argument in `prepare()` or `start()`. It is called with each
    item while the script waits (`await_data`, `wait`, `wait_sec`), in the order of arrival.
    """

    def __init__(self, port: mlink.module.InputPort, translate: Translate | None = None) -> None:
        self._port = port
        self._translate = translate
        self._on_data: Callable[[Any], object] | None = None

    @property
    def name(self) -> str:
        """The port's id."""
        return self._port.id

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the stream's metadata; complete when `start()` is called.

        Keys that a source sets in its own `start()` are missing in `prepare()`.
        """
        return meta.copied(self._port.metadata)

    @property
    def on_data(self) -> Callable[[Any], object] | None:
        """The function that is called with each item; None ignores them.

        Raises:
            SyntalosPyError: On setting: it is not a function of one argument.
        """
        return self._on_data

    @on_data.setter
    def on_data(self, function: Callable[[Any], object] | None) -> None:
        if function is not None:
            check_function(function, f"on_data of port '{self.name}'", "item")
        self._on_data = function
        self._port.on_item = _translated(function, self._translate)

    def _hint(self) -> str:
        """Return what is wrong at the end of a run; empty if nothing is."""
        if self._on_data is None or self._port.connected:
            return ""
        return (
            f"on_data of port '{self.name}' was never called: the bench connects nothing to it."
            f' Add inputs = {{ {self.name} = "MODULE.PORT" }}'
        )

    def set_throttle_items_per_sec(self, items_per_sec: float) -> None:
        """Deliver at most this many items per second and skip the others; 0 delivers all.

        Skipped items do not count as lost.

        Raises:
            SyntalosPyError: The number is negative or NaN.
        """
        if not items_per_sec >= 0:  # NaN too
            raise SyntalosPyError(f"items_per_sec must be 0 or more, not {items_per_sec}")
        self._port.set_throttle(items_per_sec)

    def __repr__(self) -> str:
        return f"<InputPort '{self.name}' of {self._port.data_type.name}>"


class OutputPort:
    """An output of the script.

    Metadata can be set until `start()` returns; then subscribers have received it.
    """

    def __init__(
        self,
        port: mlink.module.OutputPort,
        pins: legacy.PinNames | None = None,
        fit_command: Callable[[LineCommand], LineCommand] = _as_it_is,
    ) -> None:
        self._port = port
        self._fit_command = fit_command
        self._pins = pins or legacy.PinNames()
        self._fit = fit_for(port.data_type)
        self._handles: set[int] = set()
        self._modeless: set[int] = set()

    @property
    def name(self) -> str:
        """The port's id."""
        return self._port.id

    def submit(self, data: Any) -> None:
        """Send one item to all subscribers. Never waits; may be called from any thread.

        Raises:
            SyntalosPyError: The item is not of the port's type, or the stream has ended.
        """
        try:
            if type(data) in OF_2X:
                item = as_stream_item(data, self._port.data_type, self._pins)
            else:
                item = self._fit(data)
            if type(item) is LineCommand:
                if item.kind is LineCommandKind.WRITE_DIGITAL_PULSE:
                    item = self._fit_command(item)
                elif self._modeless and item.kind in _SET_MODE:
                    self._modeless.discard(item.line_id)
            self._port.submit(item)
        except StreamError as error:
            raise SyntalosPyError(f"port '{self.name}': {error}") from error
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise SyntalosPyError(
                f"port '{self.name}': this {type(data).__name__} cannot be sent: {error}"
            ) from error

    def _note_handle(self, line_id: int) -> None:
        """Note that a line has a handle, whose mode is to be sent."""
        if line_id not in self._handles:
            self._handles.add(line_id)
            self._modeless.add(line_id)

    def set_metadata_value(self, key: str, value: object) -> None:
        """Set one metadata value: int, float, str, MetaSize, or a list of int or str.

        An empty list is ignored.

        Raises:
            SyntalosPyError: The value is of another type, or `start()` has returned.
        """
        checked = meta.single_value(meta.key_text(key), value)
        if checked != []:
            self._set(key, checked)

    def _hint(self) -> str:
        """Return what is wrong at the end of a run; empty if nothing is."""
        if not self._modeless:
            return ""
        lines = ", ".join(map(str, sorted(self._modeless)))
        return (
            f"on port '{self.name}' the mode of line {lines} was never sent: call send_mode() of"
            " each HwInputLine and HwOutputLine in start()"
        )

    def set_metadata_value_size(self, key: str, value: MetaSize | Sequence[int]) -> None:
        """Set a size in pixels.

        Args:
            key: Usually "size".
            value: A MetaSize, or a sequence of exactly two ints (width, height) of 32 bits.

        Raises:
            SyntalosPyError: The value is something else, or `start()` has returned.
        """
        self._set(key, meta.size(meta.key_text(key), value))

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace all metadata values that the script has set.

        Raises:
            SyntalosPyError: A value is of a type that metadata cannot hold, or `start()` has
                returned.
        """
        self._check_not_frozen()
        if not isinstance(metadata, Mapping):
            raise SyntalosPyError(f"set_metadata needs a dict, not {type(metadata).__name__}")
        checked = {
            meta.key_text(key): meta.any_value(key, value) for key, value in metadata.items()
        }
        own = {key: self._port.metadata[key] for key in OF_SOURCE if key in self._port.metadata}
        self._port.metadata.clear()
        self._port.metadata.update(own)
        self._port.metadata.update(checked)

    def firmata_register_digital_pin(
        self, pin_id: int, name: str, is_output: bool, is_pullup: bool = False
    ) -> legacy.FirmataControl:
        """Set a digital pin up and register its name (2.x; today HwOutputLine, HwInputLine).

        Args:
            pin_id: Number of the pin.
            name: Name for later commands and readings.
            is_output: Whether it is an output; else it is an input.
            is_pullup: Whether to switch the pull-up of an input on.

        Returns:
            The command that was sent.
        """
        command = legacy.new_firmatactl(legacy.FirmataControlKind.NEW_DIG_PIN, pin_id, name)
        command.is_output = is_output
        command.is_pullup = is_pullup
        self.submit(command)
        return command

    def firmata_submit_digital_value(self, name: str, value: bool) -> legacy.FirmataControl:
        """Set the pin of this name high or low (2.x; today HwOutputLine.set_value).

        Raises:
            SyntalosPyError: No pin is registered under the name.
        """
        command = legacy.new_firmatactl(legacy.FirmataControlKind.WRITE_DIGITAL, 0, name)
        command.value = int(bool(value))
        self.submit(command)
        return command

    def firmata_submit_digital_pulse(
        self, name: str, duration_msec: int = 50
    ) -> legacy.FirmataControl:
        """Set the pin of this name high for `duration_msec` ms (2.x; today HwOutputLine.pulse).

        Raises:
            SyntalosPyError: No pin is registered under the name.
        """
        command = legacy.new_firmatactl(legacy.FirmataControlKind.WRITE_DIGITAL_PULSE, 0, name)
        command.value = duration_msec
        self.submit(command)
        return command

    def _set(self, key: str, value: Any) -> None:
        self._check_not_frozen()
        self._port.metadata[key] = value

    def _check_not_frozen(self) -> None:
        if self._port.frozen:
            raise SyntalosPyError(
                f"metadata of port '{self.name}' can no longer be changed: start() has "
                "returned. Set it in prepare(), or in start() at the latest."
            )

    def __repr__(self) -> str:
        return f"<OutputPort '{self.name}' of {self._port.data_type.name}>"


_SET_MODE = (LineCommandKind.SET_MODE, LineCommandKind.DEVICE_SPECIFIC)
"""Kinds that may set the mode of a line."""


def _translated(
    function: Callable[[Any], object] | None, translate: Translate | None
) -> Callable[[Any], object] | None:
    if function is None or translate is None:
        return function

    def call(item: Any) -> object:
        return function(translate(item))

    return call
