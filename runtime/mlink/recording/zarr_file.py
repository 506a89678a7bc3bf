"""Zarr stores of a recording: checked before the library believes them.

A store's metadata names the codecs that its data passes through, of which some run code, and the
sizes of arrays and chunks, for which the library would take memory.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
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
_CHAIN = re.compile(r"(transpose )?(bytes( zstd| blosc)?|sharding_indexed)( crc32c)?")
"""Codecs of a chunk, in their order: one compressor at most, as one would inflate another."""
_INDEX_CODECS = (["bytes"], ["bytes", "crc32c"])
_FREE_PIECES, _PIECE_BYTES = 100_000, 16
"""Chunks of a store that are read, beside those for which its files have so many bytes each."""
_TYPES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4,
    "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
_COPIES = 2
"""A file of an array may have this part of READ_MB: the library holds it more than once."""
_INDEX_BYTES = 16
_BESIDE = 64
"""Bytes that a compressed chunk may have beside its own; a 128th of these is added."""


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
    size = store_size(file, on_disk=True)
    limit = read_limit(size)
    longest = _check_metadata(folder, limit, _FREE_PIECES + size // _PIECE_BYTES, read=read)
    with folder.opened() as fd:
        store = _store_class()(Path(f"/proc/self/fd/{fd}"), read_only=not writable)
        store.folder, store.longest, store.limit = folder, longest, limit
        mode = "r+" if writable else "r"
        with zarr.config.set({"codecs": _codecs()}):
            group = zarr.open_group(store, mode=mode, zarr_format=3, use_consolidated=False)
            arrays = {name: group[name] for name in longest}
        yield group, arrays
        if writable:
            keep_owner_below(fd)


def _check_metadata(
    folder: RecordingFolder, limit: int, pieces: int, *, read: bool
) -> dict[str, int]:
    """Return a store's arrays by name, with the most bytes that a part of one of their files has.

    Args:
        folder: The store.
        limit: Bytes that it may give.
        pieces: Chunks that it may have in all.
        read: Whether its data will be read.

    Raises:
        StorageError: It has other codecs or types than recorders use, or too much data.
    """
    with folder.opened() as fd:
        entries = os.listdir(fd)  # noqa: PTH208 - of a descriptor
    names = sorted(name for name in entries if folder.folder(name).file(_METADATA).exists())
    if len(names) > _ARRAYS:
        raise StorageError(f"it has {len(names)} arrays, a recorder's has 2")
    longest: dict[str, int] = {}
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
        width = _TYPES[array.data_type]
        inner = _check_codecs(name, array.codecs, chunk)
        pieces_inside = math.prod(size // each for size, each in zip(chunk, inner, strict=True))
        index = _INDEX_BYTES * pieces_inside + _BESIDE
        longest[name] = max(index, _most(width * math.prod(inner)))
        check_size(f"the index of {name}", index, limit)
        check_size(f"a chunk of {name}", width * math.prod(chunk), read_limit() // _COPIES)
        if read:
            check_size(name, width * math.prod(shape), limit)
            count = math.prod(-(-size // each) for size, each in zip(shape, chunk, strict=True))
            if count > _CHUNKS:
                raise StorageError(f"{name} is said to have {count} files")
            if count * pieces_inside > pieces:
                raise StorageError(f"{name} is said to have {count * pieces_inside} chunks")
    return longest


def _most(size: int) -> int:
    """Return the most bytes that a chunk of this size may have when it is compressed."""
    return size + size // 128 + _BESIDE


def _check_codecs(name: str, codecs: list[_Codec], chunk: list[int]) -> list[int]:
    """Return the shape of the chunks inside of a file of an array.

    Raises:
        StorageError: It has other codecs than recorders use, or in another order.
    """
    names = [codec.name for codec in codecs]
    if unknown := sorted({*names} - _CODECS):
        raise StorageError(
            f"{name} has the codec '{unknown[0][:40]}'; those that are read: "
            f"{', '.join(sorted(_CODECS))}"
        )
    if _CHAIN.fullmatch(" ".join(names)) is None:
        raise StorageError(f"{name} has codecs in an order that no recorder has: {names[:9]}")
    shards = [codec for codec in codecs if codec.name == "sharding_indexed"]
    if not shards:
        return chunk
    shard = msgspec.convert(shards[0].configuration, _Shard)
    if any(codec.name == "sharding_indexed" for codec in shard.codecs):
        raise StorageError(f"{name} has shards in its shards")
    if [codec.name for codec in shard.index_codecs] not in _INDEX_CODECS:
        raise StorageError(f"the index of {name} has codecs that no recorder uses")
    _check_codecs(name, shard.codecs, shard.chunk_shape)
    if len(shard.chunk_shape) != len(chunk):
        raise StorageError(f"{name} has chunks of the shape {str(shard.chunk_shape)[:80]}")
    return shard.chunk_shape


@functools.cache
def _codecs() -> dict[str, str]:
    """Return the setting `codecs` of the zarr library for ones that inflate no more than a chunk.

    A frame of zstd says how much it inflates to, or not even that.
    """
    import zarr
    import zstandard
    from zarr.registry import register_codec

    def allowed(spec: Any) -> int:
        dtype = spec.dtype
        native = dtype.to_native_dtype() if hasattr(dtype, "to_native_dtype") else dtype
        return int(math.prod(spec.shape) * native.itemsize + _BESIDE)

    class Zstd(zarr.codecs.ZstdCodec):  # type: ignore[misc]
        def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
            packed, most = chunk_bytes.to_bytes(), allowed(chunk_spec)
            try:
                size = zstandard.get_frame_parameters(packed[:18]).content_size
                if size != zstandard.CONTENTSIZE_UNKNOWN:
                    _check_inflated(size, most)
                data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=most)
            except zstandard.ZstdError as error:
                raise ValueError(f"a chunk cannot be decompressed: {error}") from error
            return chunk_spec.prototype.buffer.from_bytes(data)

        async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
            return self._decode_sync(chunk_bytes, chunk_spec)

    class Blosc(zarr.codecs.BloscCodec):  # type: ignore[misc]
        async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
            size = int.from_bytes(chunk_bytes.to_bytes()[4:8], "little")
            _check_inflated(size, allowed(chunk_spec))
            return await super()._decode_single(chunk_bytes, chunk_spec)

    names = {}
    for key, codec in (("zstd", Zstd), ("blosc", Blosc)):
        names[key] = f"{__name__}.{codec.__name__}"
        register_codec(key, codec, qualname=names[key])
    return names


def _check_inflated(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"a chunk inflates to {size} bytes, but has at most {most}")


@functools.cache
def _store_class() -> Any:
    """Return a class of store whose files are those of a recording, of bounded size."""
    import zarr
    from zarr.abc.store import OffsetByteRequest, RangeByteRequest
    from zarr.core.buffer import default_buffer_prototype

    class Store(zarr.storage.LocalStore):  # type: ignore[misc]
        folder: RecordingFolder
        longest: dict[str, int]
        limit: int

        def _file(self, key: str) -> RecordingFile:
            *folders, name = key.split("/")
            folder = self.folder
            for each in folders:
                folder = folder.folder(each)
            return folder.file(name)

        def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
            file = self._file(key)
            if problem := file.problem():
                raise StorageError(problem)
            if not file.exists():
                return None
            with file.open() as opened:
                start, end = 0, (size := os.fstat(opened.fileno()).st_size)
                if isinstance(byte_range, RangeByteRequest):
                    start, end = byte_range.start, min(byte_range.end, size)
                elif isinstance(byte_range, OffsetByteRequest):
                    start = byte_range.offset
                elif byte_range is not None:
                    start = max(0, size - byte_range.suffix)
                most = self.limit if byte_range is None else self.longest[key.partition("/")[0]]
                most = _METADATA_BYTES if file.name == _METADATA else most
                check_size(f"a part of {key}", end - start, most)
                opened.seek(start)
                data = opened.read(max(0, end - start))
            return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            return self.get_sync(key, prototype=prototype, byte_range=byte_range)

        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
            return [
                self.get_sync(key, prototype=prototype, byte_range=each) for key, each in key_ranges
            ]

        async def set(self, key: str, value: Any) -> None:
            with self._file(key).replacement() as file:
                file.write(value.to_bytes())

        async def delete(self, key: str) -> None:
            self._file(key).remove()

    return Store
