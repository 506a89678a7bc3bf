"""Metadata of streams: small typed values that a source sets before the start.

Subscribers receive them before their own start. Every stream has the keys src_mod_type,
src_mod_name and src_mod_port_title, which the runtime sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias, overload

import msgspec

from mlink.errors import StreamError

__all__ = [
    "CONTROLS",
    "MetaSize",
    "MetaValue",
    "Metadata",
    "Settable",
    "decode_metadata",
    "encode_metadata",
]

CONTROLS = "controls"
"""Key of a list of `Settable`: what a person may set in a module."""

_SIZE_KEY = "__size__"
METADATA_LIMIT = 128_000
"""Most bytes of the packed metadata of a module's outputs together, and of its inputs together.

They travel in one message, and a message has to fit into the socket's buffer of some 200 kB.
"""
METADATA_REMEDY = "Send what is large as rows of the stream, or give the name of a file."


class MetaSize(msgspec.Struct, array_like=True, eq=False):
    """A two-dimensional size in pixels (int32 each).

    It is used as the tuple (width, height), which it was in Syntalos 2.x: by unpacking, `[]`,
    `len()` and comparison with a tuple.
    """

    width: int = 0
    height: int = 0

    def __iter__(self) -> Iterator[int]:
        return iter((self.width, self.height))

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...
    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        return (self.width, self.height)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, _SIZES) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return tuple(self) < tuple(other) if isinstance(other, _SIZES) else NotImplemented

    def __le__(self, other: object) -> bool:
        return tuple(self) <= tuple(other) if isinstance(other, _SIZES) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return tuple(self) > tuple(other) if isinstance(other, _SIZES) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return tuple(self) >= tuple(other) if isinstance(other, _SIZES) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.width, self.height))

    def __repr__(self) -> str:
        return f"MetaSize({self.width}, {self.height})"


class Settable(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that a person may set while a run lasts: of a script, or a control of a camera."""

    name: str
    value: bool | int | float | str
    """What it is at the start: a switch, a number, or one of `choices`."""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    """Between two numbers that it may have; None for any."""
    unit: str = ""
    choices: tuple[str, ...] = ()

    def plain(self) -> MetaValue:
        """Return it as metadata has it."""
        plain: MetaValue = msgspec.to_builtins(self)
        return plain


_SIZES = (MetaSize, tuple)
"""What a size is compared with."""

MetaValue: TypeAlias = (
    "int | float | str | bool | MetaSize | list[MetaValue] | dict[str, MetaValue] | None"
)
Metadata: TypeAlias = dict[str, MetaValue]

OF_SOURCE = ("src_mod_type", "src_mod_name", "src_mod_port_title")
"""Keys that the runtime sets for each stream."""


def passed_on(metadata: Metadata) -> Metadata:
    """Return the metadata of an input that an output takes over: all but those of its source."""
    return {key: value for key, value in metadata.items() if key not in OF_SOURCE}


_USEC_PER_UNIT = {"microseconds": 1.0, "milliseconds": 1e3, "seconds": 1e6}


def usec_per_unit(unit: str, sample_rate: object) -> float | None:
    """Return by what times of signals are multiplied for µs; None where that is not known.

    Args:
        unit: Metadata `time_unit` of the stream; "index" for numbers of samples.
        sample_rate: Metadata `sample_rate` in Hz, which "index" needs.
    """
    if unit != "index":
        return _USEC_PER_UNIT.get(unit)
    is_rate = isinstance(sample_rate, int | float) and sample_rate > 0
    return 1e6 / sample_rate if is_rate else None  # type: ignore[operator]


def bits_of(metadata: Mapping[str, object], item_bytes: int) -> int:
    """Return how many bits of a frame's values are used, the lowest ones.

    Args:
        metadata: Of the stream. `bits` states them for values of 16 bits; what cannot be true
            counts as not stated.
        item_bytes: Bytes of a value.
    """
    stated, whole = metadata.get("bits"), 8 * item_bytes
    known = isinstance(stated, int) and not isinstance(stated, bool) and item_bytes > 1
    return stated if known and 0 < stated <= whole else whole  # type: ignore[operator,return-value]


def encode_metadata(metadata: Metadata) -> bytes:
    """Encode metadata as msgpack for the control channel; a MetaSize becomes a map of one key."""
    return msgspec.msgpack.encode({key: _to_plain(value) for key, value in metadata.items()})


def encode_all(metadata: Mapping[str, Metadata]) -> dict[str, bytes]:
    """Encode the metadata of a module's outputs.

    Args:
        metadata: Output port → its metadata.

    Raises:
        StreamError: They are larger than METADATA_LIMIT; names the port and the key to blame.
    """
    packed = {port: encode_metadata(values) for port, values in metadata.items()}
    total = sum(map(len, packed.values()))
    if total > METADATA_LIMIT:
        port = max(packed, key=lambda each: len(packed[each]))
        sizes = {key: len(encode_metadata({key: value})) for key, value in metadata[port].items()}
        key = max(sizes, key=lambda each: sizes[each])
        raise StreamError(
            f"the metadata of its outputs have {total:,} bytes, more than the limit of "
            f"{METADATA_LIMIT:,}: key '{key[:80]}' of port '{port}' has {sizes[key]:,}",
            remedy=METADATA_REMEDY,
        )
    return packed


def decode_metadata(data: bytes) -> Metadata:
    """Decode what `encode_metadata` returned.

    Raises:
        TypeError: It holds a value of another type.
    """
    plain = msgspec.msgpack.decode(data, type=dict[str, object])
    return {key: _from_plain(value) for key, value in plain.items()}


def _to_plain(value: MetaValue) -> object:
    if isinstance(value, MetaSize):
        return {_SIZE_KEY: [value.width, value.height]}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    return value


def _from_plain(value: object) -> MetaValue:
    if isinstance(value, dict):
        if set(value) == {_SIZE_KEY}:
            width, height = value[_SIZE_KEY]
            return MetaSize(width, height)
        return {str(key): _from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if value is None or isinstance(value, int | float | str):
        return value
    raise TypeError(f"metadata cannot hold a {type(value).__name__}")
