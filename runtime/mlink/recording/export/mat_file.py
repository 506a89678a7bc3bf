"""Export as a MAT-file of version 7.3, which is HDF5 with MATLAB's names for types, by h5py.

Each dataset of the recording is a struct of the file, with its columns as fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlink.recording.export.parts import HDF5_COLUMNS, Export
from mlink.recording.libraries import library
from mlink.recording.signals import Signals
from mlink.recording.stream import Columns, RecordedStream, unique_titles
from mlink.recording.video import Video
from mlink.storage.failures import storage_errors

_HEAD_BYTES = 512
"""Bytes before the HDF5 file, for MATLAB's header."""
_TEXT_BYTES = 116
_VERSION = b"\x00\x02IM"
"""Version of the format, and the order of bytes."""
_LONGEST_NAME = 63
_CLASSES = {
    "float64": "double", "float32": "single", "bool": "logical",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""NumPy's names of types → MATLAB's."""
_KEYWORDS = set(
    "break case catch classdef continue else elseif end for function global if otherwise parfor "  # noqa: SIM905
    "persistent return spmd switch try while".split()
)
_REFERENCES = "#refs#"


def export_mat(export: Export) -> list[Path]:
    """Write one MAT-file: the struct `recording`, and one for each dataset.

    Raises:
        StorageError: As `export_recording`.
    """
    h5py = library("h5py", "this export", extra="export")
    path, recording = export.whole("mat"), export.recording
    with storage_errors(path):
        with h5py.File(path, "x", userblock_size=_HEAD_BYTES) as file:
            writer = _Writer(h5py, file)
            about = {
                "path": str(recording.path.resolve()),
                "collection_id": recording.collection_id,
                "length_s": recording.length_s,
                **{
                    key: _plain(recording.attributes.get(key))
                    for key in ("collection_name", "subject_id", "user_comment", "success", "time")
                },
            }
            names = ["recording"]
            writer.write(file, names[0], about)
            for name, stream, columns in export.each(HDF5_COLUMNS):
                with export.apart(name):
                    (title,) = _identifiers([name], *names)
                    names.append(title)
                    writer.write(file, title, _struct(stream, columns))
        text = f"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created by mlink on {datetime.now(UTC):%c}"
        head = text.encode("ascii", "replace")[:_TEXT_BYTES].ljust(_TEXT_BYTES) + bytes(8)
        with path.open("r+b") as begin:
            begin.write(head + _VERSION)
    return [path]


def _struct(stream: RecordedStream, columns: Columns) -> dict[str, Any]:
    """Return the fields of a dataset."""
    fields: dict[str, Any] = {
        "name": stream.name,
        "timestamp_source": stream.timestamp_source,
        "uncertainty_usec": stream.uncertainty_usec,
        "items_lost": stream.lost,
    }
    if isinstance(stream, Signals) and "time_usec" in columns and stream.values.dtype != object:
        return fields | {
            "time_usec": columns["time_usec"],
            "values": stream.values,
            "channels": list(stream.names),
            "unit": stream.unit,
            "data_scale": float(stream.attributes.get("data_scale", 1.0)),
            "data_offset": float(stream.attributes.get("data_offset", 0.0)),
        }
    if isinstance(stream, Video):
        fields["files"] = [str(stream.path.resolve() / part) for part in stream.part_names]
    titles = _identifiers(columns, *fields, "titles")
    return fields | {"titles": list(columns)} | dict(zip(titles, columns.values(), strict=True))


def _plain(value: Any) -> Any:
    """Return an attribute, as a text if MATLAB has no type for it."""
    return value if value is None or isinstance(value, bool | float) else str(value)


def _identifiers(names: Iterable[str], *taken: str) -> list[str]:
    """Return names that MATLAB accepts, each once."""
    return unique_titles(
        map(_identifier, names),
        *taken,
        numbered=lambda name, number: f"{name[: _LONGEST_NAME - 6]}_{number}",
    )


def _identifier(name: str) -> str:
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not re.match(r"[A-Za-z]", plain) or plain in _KEYWORDS:
        plain = f"x{plain}"
    return plain[:_LONGEST_NAME]


class _Writer:
    """Writes values as MATLAB stores them: columns first, texts in UTF-16, cells by reference."""

    def __init__(self, h5py: Any, file: Any) -> None:
        self._h5py = h5py
        self._file = file
        self._cells: dict[str, Any] = {}
        """Reference of each text in cells: most repeat, and each is an object of HDF5."""

    def write(self, group: Any, name: str, value: Any) -> Any:
        """Write a value below a group; None is an empty matrix. Returns its HDF5 object."""
        if isinstance(value, Mapping):
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, each in value.items():
                self.write(made, key, each)
            return made
        if isinstance(value, str):
            return self._text(group, name, value)
        if isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype == object):
            return self._cell(group, name, ["" if each is None else str(each) for each in value])
        return self._matrix(group, name, np.empty((0, 0)) if value is None else np.asarray(value))

    def _matrix(self, group: Any, name: str, array: NDArray[Any]) -> Any:
        if array.ndim < 2:
            array = array.reshape(-1, 1)  # a column
        kind = _CLASSES[array.dtype.name]
        if array.size:
            data = array.T.astype(np.uint8) if kind == "logical" else array.T
            made = group.create_dataset(name, data=data)
        else:
            made = self._empty(group, name, array.shape)
        made.attrs["MATLAB_class"] = np.bytes_(kind)
        if kind == "logical":
            made.attrs["MATLAB_int_decode"] = np.int32(1)
        return made

    def _text(self, group: Any, name: str, text: str) -> Any:
        units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
        if len(units):
            made = group.create_dataset(name, data=units.reshape(-1, 1))  # 1 × N in MATLAB
        else:
            made = self._empty(group, name, (0, 0))
        made.attrs["MATLAB_class"] = np.bytes_("char")
        made.attrs["MATLAB_int_decode"] = np.int32(2)
        return made

    def _cell(self, group: Any, name: str, texts: list[str]) -> Any:
        if texts:
            references = np.empty((1, len(texts)), self._h5py.ref_dtype)  # N × 1 in MATLAB
            store = self._file.require_group(_REFERENCES)
            for at, text in enumerate(texts):
                if text not in self._cells:
                    self._cells[text] = self._text(store, f"c{len(self._cells)}", text).ref
                references[0, at] = self._cells[text]
            made = group.create_dataset(name, data=references, dtype=self._h5py.ref_dtype)
        else:
            made = self._empty(group, name, (0, 0))
        made.attrs["MATLAB_class"] = np.bytes_("cell")
        return made

    def _empty(self, group: Any, name: str, shape: tuple[int, ...]) -> Any:
        made = group.create_dataset(name, data=np.array(shape, np.uint64))
        made.attrs["MATLAB_empty"] = np.uint8(1)
        return made
