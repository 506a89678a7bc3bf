"""Zarr stores of a recording: checked before the library believes them.

A store's metadata names the codecs that its data passes through, of which some run code, and the
sizes of arrays and chunks, for which the library would take memory.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mlink.errors import StorageError
from mlink.storage.inside import RecordingFile, RecordingFolder, keep_owner_below
from mlink.storage.limits import check_size, read_limit
from mlink.storage.tree import not_a_file, store_size

UNREADABLE_STORE = (
    OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError,
    RuntimeError, NotImplementedError, StorageError,
)  # fmt: skip
"""Errors when the files of a store are damaged; most are of the zarr library."""
_METADATA = "zarr.json"
_METADATA_BYTES = 4 << 20
_ARRAYS = 64
_CHUNKS = 10_000
"""Files of an array; a recorder's have some megabytes each."""
_CODECS = {"bytes", "zstd", "blosc", "crc32c", "sharding_indexed", "transpose"}
_TYPES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4,
    "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
_INDEX_BYTES = 16
_ZSTD = b"\x28\xb5\x2f\xfd"


class _Codec(msgspec.Struct):
    name: str
    configuration: dict[str, Any] = {}


class _Shard(msgspec.Struct):
    chunk_shape: Annotated[list[Annotated[int, msgspec.Meta(ge=1)]], msgspec.Meta(min_length=1)]
    codecs: list[_Codec]
    index_codecs: list[_Codec] = []


class _Configuration(msgspec.Struct):
    chunk_shape: list[int]


class _Grid(msgspec.Struct):
    configuration: _Configuration


class _Array(msgspec.Struct):
    shape: list[int]
    data_type: str
    chunk_grid: _Grid
    codecs: list[_Codec]
    storage_transformers: list[Any] = []


@contextmanager
def opened_store(
    file: RecordingFile, *, read: bool = False, writable: bool = False
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a store within the block.

    Args:
        file: The store, a folder.
        read: Whether its data will be read, so that its size matters.
        writable: Whether it may be changed.

    Yields:
        Its group and, by name, its arrays, of the zarr library.

    Raises:
        ImportError: The zarr library is not installed.
        StorageError: It is no store that a recorder writes, or larger than a file may be.
        Exception: One of UNREADABLE_STORE, by the library; also later, while data is read.
    """
    import zarr

    if problem := not_a_file(file):
        raise StorageError(problem)
    folder = file.folder.folder(file.name)
    limit = read_limit(store_size(file))
    names = _check_metadata(folder, limit, read=read)
    with folder.opened() as fd:
        store = _bounded(limit)(Path(f"/proc/self/fd/{fd}"), read_only=not writable)
        mode = "r+" if writable else "r"
        group = zarr.open_group(store, mode=mode, zarr_format=3, use_consolidated=False)
        yield group, {name: group[name] for name in names}
        if writable:
            keep_owner_below(fd)


def _check_metadata(folder: RecordingFolder, limit: int, *, read: bool) -> list[str]:
    """Return the names of a store's arrays.

    Raises:
        StorageError: It has other codecs or types than recorders use, or too much data.
    """
    with folder.opened() as fd:
        entries = os.listdir(fd)  # noqa: PTH208 - of a descriptor
    names = sorted(name for name in entries if folder.folder(name).file(_METADATA).exists())
    if len(names) > _ARRAYS:
        raise StorageError(f"it has {len(names)} arrays, a recorder's has 2")
    for name in names:
        try:
            found = json.loads(folder.folder(name).file(_METADATA).read(_METADATA_BYTES))
            array = msgspec.convert(found, _Array)
        except (ValueError, RecursionError) as error:  # also those of msgspec
            raise StorageError(f"{name}/{_METADATA} is not of a recorder: {error}") from error
        if array.data_type not in _TYPES:
            raise StorageError(f"{name} has the type '{array.data_type[:40]}', as no recorder has")
        if array.storage_transformers:
            raise StorageError(f"{name} has storage transformers, which no recorder has")
        shape, chunk = array.shape, array.chunk_grid.configuration.chunk_shape
        if len(shape) not in (1, 2) or len(shape) != len(chunk) or min(shape) < 0 or min(chunk) < 1:
            raise StorageError(f"{name} has the shape {str(shape)[:80]} in {str(chunk)[:80]}")
        _check_codecs(name, array.codecs, chunk, limit)
        width = _TYPES[array.data_type]
        check_size(f"a chunk of {name}", width * math.prod(chunk), limit)
        if read:
            check_size(name, width * math.prod(shape), limit)
            count = math.prod(-(-size // each) for size, each in zip(shape, chunk, strict=True))
            if count > _CHUNKS:
                raise StorageError(f"{name} is said to have {count} files")
    return names


def _check_codecs(
    name: str, codecs: list[_Codec], chunk: list[int], limit: int, depth: int = 0
) -> None:
    for codec in codecs:
        if codec.name not in _CODECS or depth > 1:
            raise StorageError(
                f"{name} has the codec '{codec.name[:40]}'; those that are read: "
                f"{', '.join(sorted(_CODECS))}"
            )
        if codec.name != "sharding_indexed":
            continue
        shard = msgspec.convert(codec.configuration, _Shard)
        pieces = math.prod(chunk) // math.prod(shard.chunk_shape)
        check_size(f"the index of {name}", _INDEX_BYTES * pieces, limit)
        _check_codecs(name, shard.codecs, shard.chunk_shape, limit, depth + 1)
        _check_codecs(name, shard.index_codecs, shard.chunk_shape, limit, depth + 1)


def _bounded(limit: int) -> Any:
    """Return a class of store that refuses chunks that would inflate beyond the limit."""
    import zarr
    import zstandard

    def check(buffer: Any) -> Any:
        head = bytes(buffer.as_numpy_array()[:18]) if buffer is not None else b""
        size = 0
        if head.startswith(_ZSTD):
            try:
                parameters = zstandard.get_frame_parameters(head)
            except zstandard.ZstdError:
                return buffer  # the library reports it
            size = parameters.content_size
            if size == zstandard.CONTENTSIZE_UNKNOWN:
                size = parameters.window_size
        check_size("a chunk, inflated,", size, limit)
        return buffer

    class Bounded(zarr.storage.LocalStore):  # type: ignore[misc]
        async def get(self, *args: Any, **kwargs: Any) -> Any:
            return check(await super().get(*args, **kwargs))

        def get_sync(self, *args: Any, **kwargs: Any) -> Any:
            return check(super().get_sync(*args, **kwargs))

        async def get_partial_values(self, *args: Any, **kwargs: Any) -> Any:
            return [check(each) for each in await super().get_partial_values(*args, **kwargs)]

    return Bounded
