"""Ports as scripts see them: wrappers of a module's ports with the names of Syntalos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

import mlink.module
from mlink.errors import StreamError
from mlink.metadata import MetaSize
from mlink.scripting import legacy
from mlink.scripting import metadata as meta
from mlink.scripting.callbacks import check_function
from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.items import as_stream_item

Translate = Callable[[Any], Any]


class InputPort:
    """An input of the script; set `on_data` to a function of one argument."""

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
        """The stream's metadata; complete from `start()` on. A copy: changes have no effect."""
        return meta.copied(self._port.metadata)

    @property
    def on_data(self) -> Callable[[Any], object] | None:
        """The function that is called with each arriving item, or None."""
        return self._on_data

    @on_data.setter
    def on_data(self, function: Callable[[Any], object] | None) -> None:
        if function is not None:
            check_function(function, f"on_data of port '{self.name}'", "item")
        self._on_data = function
        self._port.on_item = _translated(function, self._translate)

    def set_throttle_items_per_sec(self, items_per_sec: float) -> None:
        """Deliver at most this many items a second and skip the rest; 0 delivers all."""
        if not items_per_sec >= 0:  # NaN too
            raise SyntalosPyError(f"items_per_sec must be 0 or more, not {items_per_sec}")
        self._port.set_throttle(items_per_sec)

    def __repr__(self) -> str:
        return f"<InputPort '{self.name}' of {self._port.data_type.value}>"


class OutputPort:
    """An output of the script."""

    def __init__(self, port: mlink.module.OutputPort, pins: legacy.PinNames | None = None) -> None:
        self._port = port
        self._pins = pins or legacy.PinNames()

    @property
    def name(self) -> str:
        """The port's id."""
        return self._port.id

    def submit(self, data: Any) -> None:
        """Send one item to all modules that listen; may be called from any thread.

        Raises:
            SyntalosPyError: the item is not of the port's type, or cannot be sent now.
        """
        try:
            self._port.submit(as_stream_item(data, self._port.data_type, self._pins))
        except StreamError as error:
            raise SyntalosPyError(f"port '{self.name}': {error}") from error
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise SyntalosPyError(
                f"port '{self.name}': this {type(data).__name__} cannot be sent: {error}"
            ) from error

    def set_metadata_value(self, key: str, value: object) -> None:
        """Set one metadata value: int, float, str, MetaSize, or a list of int or str.

        An empty list is ignored. Allowed until `start()` returns.
        """
        checked = meta.single_value(meta.key_text(key), value)
        if checked != []:
            self._set(key, checked)

    def set_metadata_value_size(self, key: str, value: MetaSize | Sequence[int]) -> None:
        """Set a size: a MetaSize or a sequence of exactly two ints (width, height)."""
        self._set(key, meta.size(meta.key_text(key), value))

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace all metadata values; allowed until `start()` returns."""
        self._check_not_frozen()
        if not isinstance(metadata, Mapping):
            raise SyntalosPyError(f"set_metadata needs a dict, not {type(metadata).__name__}")
        checked = {
            meta.key_text(key): meta.any_value(key, value) for key, value in metadata.items()
        }
        own = {key: self._port.metadata[key] for key in _OURS if key in self._port.metadata}
        self._port.metadata.clear()
        self._port.metadata.update(own)
        self._port.metadata.update(checked)

    def firmata_register_digital_pin(
        self, pin_id: int, name: str, is_output: bool, is_pullup: bool = False
    ) -> legacy.FirmataControl:
        """Set a digital pin up and register its name (2.x; today HwOutputLine, HwInputLine)."""
        command = legacy.new_firmatactl(legacy.FirmataControlKind.NEW_DIG_PIN, pin_id, name)
        command.is_output = is_output
        command.is_pullup = is_pullup
        self.submit(command)
        return command

    def firmata_submit_digital_value(self, name: str, value: bool) -> legacy.FirmataControl:
        """Switch the pin of that name (2.x; today HwOutputLine.set_value)."""
        command = legacy.new_firmatactl(legacy.FirmataControlKind.WRITE_DIGITAL, 0, name)
        command.value = int(value)
        self.submit(command)
        return command

    def firmata_submit_digital_pulse(
        self, name: str, duration_msec: int = 50
    ) -> legacy.FirmataControl:
        """Switch the pin of that name high for `duration_msec` milliseconds (2.x)."""
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
                f"metadata of port '{self.name}' cannot be changed any more: start() has "
                "returned. Set it in prepare(), or in start() at the latest."
            )

    def __repr__(self) -> str:
        return f"<OutputPort '{self.name}' of {self._port.data_type.value}>"


_OURS = ("src_mod_type", "src_mod_name", "src_mod_port_title")
"""Metadata of every stream, set by the runtime."""


def _translated(
    function: Callable[[Any], object] | None, translate: Translate | None
) -> Callable[[Any], object] | None:
    if function is None or translate is None:
        return function

    def call(item: Any) -> object:
        return function(translate(item))

    return call
