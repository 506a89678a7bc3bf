"""Reads a Syntalos project file: a tar archive, perhaps compressed, that may come from anybody.

It is unpacked into memory within limits, never onto the disk, and only members whose names a
project can have are taken.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any, Final, TypeVar

import msgspec

from mlink.errors import BenchError
from mlink.storage.manifest import parse_toml

_MOST_BYTES: Final = 64_000_000
"""Largest size of an unpacked archive; modules store some 10 kB each."""
_MOST_MEMBERS: Final = 5_000
_MEMBER: Final = re.compile(
    r"(?:\./)?(?:(?P<main>(?:main|subjects|experimenters|graph)\.toml)"
    r"|(?P<folder>(?P<number>[0-9]{1,9})(?:-[^/\x00]{1,200})?)/(?P<file>[^/\x00]{1,200}))"
)
_REMEDY: Final = "Save the project again in Syntalos, and import that file."
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError)
StructT = TypeVar("StructT", bound=msgspec.Struct)


class Subject(msgspec.Struct):
    """An animal or person of `subjects.toml`."""

    id: str = ""
    group: str = ""
    active: bool = True
    comment: str = ""


class Experimenter(msgspec.Struct):
    """A person of `experimenters.toml`."""

    name: str = ""
    email: str = ""


class _Storage(msgspec.Struct):
    order: list[str] = []
    clock_time_in_dir: bool = False
    simple_names: bool = True
    flat_root: bool = False
    add_moniker: bool = False


class Network(msgspec.Struct):
    """Whether the project leads other machines, or is led by one."""

    controller_enabled: bool = False
    listener_enabled: bool = False
    expected_listener_count: int = 0
    timeout_ms: int = 6000


class IntervalRun(msgspec.Struct):
    """How often the project is run, and how long, in minutes."""

    count: int = 2
    duration_min: float = 5.0
    delay_min: float = 0.05


class Main(msgspec.Struct):
    """What an importer needs of `main.toml`."""

    version_format: str
    version_app: str = ""
    experiment_id: str = ""
    storage: _Storage = msgspec.field(default_factory=_Storage)
    network: Network = msgspec.field(default_factory=Network)
    interval_run: IntervalRun | None = None


class _Info(msgspec.Struct):
    id: str
    name: str
    enabled: bool = True
    stop_on_failure: bool = True
    subscriptions: Annotated[dict[str, Any], msgspec.Meta(max_length=1000)] = {}
    ui_display_geometry: Any = None


@dataclass(frozen=True, slots=True)
class ProjectModule:
    """One module of a project.

    Attributes:
        folder: Its folder in the archive.
        id: Its type.
        name: Its name, unique in the project.
        inputs: Own input port → (name of the source module, its output port).
        settings: Its settings, as stored.
        data: Its extra data, such as a script.
        broken: Inputs whose connection is not readable.
        shown: Whether a display window of it is open.
    """

    folder: str
    id: str
    name: str
    enabled: bool
    stop_on_failure: bool
    inputs: dict[str, tuple[str, str]]
    settings: dict[str, Any]
    data: bytes
    broken: tuple[str, ...]
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """A project file."""

    path: Path
    main: Main
    modules: list[ProjectModule]
    subjects: list[Subject] = field(default_factory=list)
    experimenters: list[Experimenter] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Members that no project has."""


def read_project(path: Path) -> Project:
    """Read a project file.

    Raises:
        BenchError: It cannot be read, is no project, is larger than the limits, or a part of it is
            damaged; the message names the part.
    """
    members, ignored = _members(path)
    if "main.toml" not in members:
        raise BenchError(f"{path} is no Syntalos project: it has no main.toml", remedy=_REMEDY)
    main = _table(path, members, "main.toml", Main)
    if main.version_format != "1":
        raise BenchError(
            f"{path} has version {main.version_format!r} of the project format; known is '1'",
            remedy="Save it with a version of Syntalos from 1.0 to 3.1.",
        )
    folders = sorted(
        {name.partition("/")[0] for name in members if name.endswith("/info.toml")},
        key=lambda folder: (int(re.match("[0-9]+", folder)[0]), folder),  # type: ignore[index]  # _MEMBER
    )
    modules = [_module(path, members, folder) for folder in folders]
    names = [module.name for module in modules]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise BenchError(
            f"{path} has two modules of the name {ascii(twice)[:200]}: connections go by names",
            remedy=_REMEDY,
        )
    return Project(
        path,
        main,
        modules,
        _listed(path, members, "subjects.toml", Subject),
        _listed(path, members, "experimenters.toml", Experimenter),
        ignored,
    )


def _module(path: Path, members: dict[str, bytes], folder: str) -> ProjectModule:
    info = _table(path, members, f"{folder}/info.toml", _Info)
    inputs, broken = {}, []
    for port, source in info.subscriptions.items():
        if isinstance(source, list) and [type(word) for word in source] == [str, str]:
            inputs[port] = (source[0], source[1])
        else:
            broken.append(port)
    settings = _toml(path, members, f"{folder}/{info.id}.toml")
    return ProjectModule(
        folder,
        info.id,
        info.name,
        info.enabled,
        info.stop_on_failure,
        inputs,
        settings,
        members.get(f"{folder}/{info.id}.dat", b""),
        tuple(broken),
        _is_shown(info.ui_display_geometry),
    )


def _is_shown(windows: object) -> bool:
    """Return whether a window is visible, of those by number."""
    each = windows.values() if isinstance(windows, dict) else ()
    return any(isinstance(window, dict) and window.get("visible") is True for window in each)


def _members(path: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the members of the archive by name, and the names of those that no project has."""
    found: dict[str, bytes] = {}
    ignored: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(path)), mode="r:") as archive:
            for count, member in enumerate(archive):
                if count >= _MOST_MEMBERS:
                    raise BenchError(f"{path} has more than {_MOST_MEMBERS:,} members")
                name = _checked_name(path, member)
                if member.isdir():
                    continue
                matched = _MEMBER.fullmatch(member.name)
                if matched is None:
                    ignored.append(name)
                    continue
                content = archive.extractfile(member)
                assert content is not None
                found[name.removeprefix("./")] = content.read(_MOST_BYTES)
    except _DAMAGED as error:
        raise BenchError(f"{path} cannot be read: {error}", remedy=_REMEDY) from error
    return found, ignored


def _checked_name(path: Path, member: tarfile.TarInfo) -> str:
    """Return a member's name.

    Raises:
        BenchError: It is no plain file or folder, or its name leads out of the archive.
    """
    name, shown = member.name, ascii(member.name)[:200]
    regular = member.isreg() and not member.issparse() and member.size <= _MOST_BYTES
    if not (regular or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "no plain file"
        raise BenchError(f"{path}: member {shown} is {kind}; no project has one", remedy=_REMEDY)
    if name.startswith("/") or ".." in name.split("/"):
        raise BenchError(f"{path}: member {shown} leads out of the archive", remedy=_REMEDY)
    return name


def _unpacked(path: Path) -> bytes:
    """Return the archive without its compression, at most `_MOST_BYTES`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BenchError(f"{path} is no file", remedy="Give the path of a .syct file.")
        with path.open("rb") as raw:
            head = raw.read(6)
            raw.seek(0)
            content = _opened(head, raw)(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise BenchError(f"there is no file {path}", remedy="Check the path.") from None
    if len(content) > _MOST_BYTES:
        raise BenchError(
            f"{path} is larger than {_MOST_BYTES // 1_000_000} MB when it is unpacked",
            remedy="A project has no data: look whether this file is one.",
        )
    return content


def _opened(head: bytes, raw: IO[bytes]) -> Callable[[int], bytes]:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw).read
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw).read
    if head == b"\xfd7zXZ\x00":
        decompressor = lzma.LZMADecompressor(memlimit=256_000_000)
        return lambda most: decompressor.decompress(raw.read(_MOST_BYTES), most)
    return raw.read


def _toml(path: Path, members: dict[str, bytes], name: str) -> dict[str, Any]:
    """Return a member's table; an absent one is empty."""
    try:
        return parse_toml(members.get(name, b"").decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # also those of UTF-8 and of TOML
        raise BenchError(f"{path}: {name} is no TOML: {error}", remedy=_REMEDY) from error


def _table(path: Path, members: dict[str, bytes], name: str, kind: type[StructT]) -> StructT:
    return _as(path, name, _toml(path, members, name), kind)


def _listed(path: Path, members: dict[str, bytes], name: str, kind: type[StructT]) -> list[StructT]:
    """Return the entries of the first list in a member's table, whatever its key."""
    values = _toml(path, members, name).values()
    entries = next((value for value in values if isinstance(value, list)), [])
    return [_as(path, name, entry, kind) for entry in entries]


def _as(path: Path, name: str, value: object, kind: type[StructT]) -> StructT:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BenchError(f"{path}: {name}: {error}", remedy=_REMEDY) from error
