"""Ports as scripts see them: wrappers of a module's ports with the names of Syntalos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlink.module
from mlink.errors import StreamError
from mlink.metadata import MetaSize
from mlink.scripting.errors import SyntalosPyError


class InputPort:
    """An input of the script; set `on_data` to a function of one argument."""

    def __init__(self, port: mlink.module.InputPort) -> None:
        self._port = port
        self._on_data: Callable[[Any], object] | None = None

    @property
    def name(self) -> str:
        """The port's id."""
        return self._port.id

    @property
    def metadata(self) -> dict[str, Any]:
        """The stream's metadata; complete from `start()` on. A copy: changes have no effect."""
        return dict(self._port.metadata)

    @property
    def on_data(self) -> Callable[[Any], object] | None:
        """The function that is called with each arriving item, or None."""
        return self._on_data

    @on_data.setter
    def on_data(self, function: Callable[[Any], object] | None) -> None:
        if function is not None and not callable(function):
            raise SyntalosPyError(
                f"on_data of port '{self.name}' must be a function of one argument or None, "
                f"not {type(function).__name__}"
            )
        self._on_data = function
        self._port.on_item = function

    def set_throttle_items_per_sec(self, items_per_sec: float) -> None:
        """Deliver at most this many items a second and skip the rest; 0 delivers all."""
        if items_per_sec < 0:
            raise SyntalosPyError("items_per_sec must be 0 or more")
        self._port.set_throttle(items_per_sec)

    def __repr__(self) -> str:
        return f"<InputPort '{self.name}' of {self._port.data_type.value}>"


class OutputPort:
    """An output of the script."""

    def __init__(self, port: mlink.module.OutputPort) -> None:
        self._port = port

    @property
    def name(self) -> str:
        """The port's id."""
        return self._port.id

    def submit(self, data: Any) -> None:
        """Send one item to all modules that listen.

        Raises:
            SyntalosPyError: the item is not of the port's type, or cannot be sent now.
        """
        try:
            self._port.submit(data)
        except StreamError as error:
            raise SyntalosPyError(f"port '{self.name}': {error}") from error

    def set_metadata_value(self, key: str, value: object) -> None:
        """Set one metadata value: int, float, str, MetaSize, or a list of int or str.

        An empty list is ignored. Allowed until `start()` returns.
        """
        if isinstance(value, list):
            for item in value:
                if type(item) is not int and not isinstance(item, str):
                    raise SyntalosPyError(
                        f"metadata '{key}': a list may hold int or str, not {type(item).__name__}"
                    )
            if not value:
                return
        elif type(value) is not int and not isinstance(value, float | str | MetaSize):
            raise SyntalosPyError(
                f"metadata '{key}' cannot be of type {type(value).__name__} "
                "(int, float, str, MetaSize, or a list of int or str)"
            )
        self._set(key, value)

    def set_metadata_value_size(self, key: str, value: MetaSize | Sequence[int]) -> None:
        """Set a size: a MetaSize or a sequence of exactly two ints (width, height)."""
        if isinstance(value, MetaSize):
            self._set(key, value)
            return
        size = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        if len(size) != 2 or not all(type(extent) is int for extent in size):
            raise SyntalosPyError(
                f"metadata '{key}' must be a MetaSize or two ints (width, height), not {value!r}"
            )
        self._set(key, MetaSize(size[0], size[1]))

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Replace all metadata values."""
        self._check_not_frozen()
        common = {
            key: value for key, value in self._port.metadata.items() if key.startswith("src_mod_")
        }
        self._port.metadata.clear()
        self._port.metadata.update(common)
        for key, value in metadata.items():
            self._set(key, value)

    def _set(self, key: str, value: Any) -> None:
        self._check_not_frozen()
        self._port.metadata[key] = value

    def _check_not_frozen(self) -> None:
        if self._port.frozen:
            raise SyntalosPyError(
                f"metadata of port '{self.name}' cannot be changed any more: start() has returned"
            )

    def __repr__(self) -> str:
        return f"<OutputPort '{self.name}' of {self._port.data_type.value}>"
