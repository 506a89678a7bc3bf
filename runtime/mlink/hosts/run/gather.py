"""Gathers what hosts have recorded into the recording of a run, checked by digests.

Each host's part becomes a group of the recording with the host's name. A host is not trusted: its
names are those of files and folders below that group, or nothing is written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from mlink.errors import HostError, MlinkError, StorageError
from mlink.hosts.link.calls import Calls
from mlink.hosts.run import messages
from mlink.storage.account import ACCOUNT, DATASETS, HOSTS
from mlink.storage.failures import storage_errors
from mlink.storage.inside import RecordingFolder
from mlink.storage.manifest import ATTRIBUTES, MANIFEST, read_toml, unit_manifest, write_toml
from mlink.storage.tree import collection_folder, units_below

_MOST_FILES: Final = 100_000
_DEPTH: Final = 16
_NAME_BYTES: Final = 200
_ANSWER_S: Final = 30.0
_OF_HOST: Final = "manifest-of-host.toml"

Progress = Callable[[str, int, int], object]
"""Called with (host, bytes so far, bytes of all)."""


def gather_host(
    calls: Calls, host: str, run: str, recording: Path, progress: Progress = lambda *_: None
) -> int:
    """Bring a host's part into a recording; return its bytes. What is there already is kept.

    Args:
        calls: Asks hosts.
        host: The host.
        run: The run's id, hexadecimal.
        recording: The recording's folder.
        progress: Receives how far it is.

    Raises:
        HostError: It cannot be reached, or a file is not as its digest says.
        StorageError: A file cannot be written.
    """
    files = _listed(calls, host, run)
    total = sum(file.size for file in files)
    with storage_errors(recording):
        free = os.statvfs(recording)
    if total > free.f_bavail * free.f_frsize:
        raise StorageError(
            f"{host} has {total / 1e9:.1f} GB of this recording, more than this disk has free",
            remedy="Free some space, then: mlink gather RECORDING.",
        )
    root = RecordingFolder(recording)
    _make(root, host)
    done = 0
    for file in files:
        *folders, name = _parts(host, file.path)
        folder = root.folder(host)
        for each in folders:
            _make(folder, each)
            folder = folder.folder(each)
        if not folders and name == MANIFEST:
            name = _OF_HOST  # of a collection, which it is no more
        wanted = _digest(calls, host, run, file.path)
        if not _is_there(folder, name, file.size, wanted):
            _fetch(calls, host, run, file, folder, name, wanted)
        done += file.size
        progress(host, done, total)
    _make_group(root.folder(host), run)
    return total


def note_gathered(recording: Path, host: str, *, size: int = 0, why_not: str = "") -> None:
    """Write into a recording that a host's part is in it, or why it is not.

    Args:
        recording: The recording's folder.
        host: The host.
        size: Bytes of its part.
        why_not: Why it is not there; "" when it is.

    Raises:
        StorageError: The attributes cannot be read or written.
    """
    attributes = read_toml(recording / ATTRIBUTES)
    about = dict(attributes.get(HOSTS, {}).get(host, {}))
    about["gathered"] = not why_not
    about.pop("not_gathered", None)
    if why_not:
        about["not_gathered"] = why_not
    else:
        about["bytes"] = size
    attributes[HOSTS] = {**attributes.get(HOSTS, {}), host: about}
    if not why_not and isinstance(attributes.get(DATASETS, []), list):
        own = [unit.name for unit in units_below(recording) if unit.type == "dataset"]
        listed = attributes.get(DATASETS, [])
        attributes[DATASETS] = listed + [
            name for name in own if name.startswith(f"{host}/") and name not in listed
        ]
    write_toml(recording / ATTRIBUTES, attributes)


def add_account(recording: Path, account: list[dict[str, Any]]) -> None:
    """Add the streams of hosts to the account of a recording.

    Raises:
        StorageError: The attributes cannot be read or written.
    """
    attributes = read_toml(recording / ATTRIBUTES)
    own = attributes.get(ACCOUNT, [])
    names = {stream.get("name") for stream in own}
    attributes[ACCOUNT] = own + [each for each in account if each["name"] not in names]
    write_toml(recording / ATTRIBUTES, attributes)


def left_on_hosts(recording: Path) -> dict[str, dict[str, Any]]:
    """Return the hosts whose part is not in a recording, with what is known of each.

    Raises:
        StorageError: There is no recording.
    """
    hosts = collection_folder(recording).written.get(HOSTS, {})
    if not isinstance(hosts, dict):
        return {}
    return {
        name: about
        for name, about in hosts.items()
        if isinstance(about, dict) and not about.get("gathered")
    }


def gather_left(
    calls: Calls, recording: Path, progress: Progress = lambda *_: None
) -> dict[str, MlinkError]:
    """Gather what is left on hosts; return why each host's part could not be.

    Args:
        calls: Asks hosts.
        recording: The recording's folder.
        progress: Receives how far it is.
    """
    errors: dict[str, MlinkError] = {}
    for host, about in left_on_hosts(recording).items():
        try:
            size = gather_host(calls, host, str(about.get("run", "")), recording, progress)
        except MlinkError as error:
            errors[host] = error
            note_gathered(recording, host, why_not=error.message)
        else:
            note_gathered(recording, host, size=size)
    return errors


def _listed(calls: Calls, host: str, run: str) -> list[messages.File]:
    files: list[messages.File] = []
    while True:
        found = calls.ask(host, messages.Files(run, len(files)), messages.Listed, _ANSWER_S)
        files += found.files
        if found.total > _MOST_FILES:
            raise HostError(f"host {host} has more than {_MOST_FILES:,} files", host=host)
        if len(files) >= found.total or not found.files:
            return files


def _parts(host: str, path: str) -> list[str]:
    parts = path.split("/")
    wrong = [
        part
        for part in parts
        if part in ("", ".", "..") or not part.isprintable() or len(part.encode()) > _NAME_BYTES
    ]
    if wrong or len(parts) > _DEPTH:
        raise HostError(
            f"host {host} names a file that no recording has: {path[:80]!r}",
            host=host,
            remedy="Nothing was written. Look at that host: its files may be damaged.",
        )
    return parts


def _make(folder: RecordingFolder, name: str) -> None:
    """Make a folder in a recording, unless it is there."""
    path = folder.path / name
    with folder.opened() as fd, storage_errors(path, "create"), suppress(FileExistsError):
        os.mkdir(name, dir_fd=fd)
    with folder.folder(name).opened():
        pass  # it is one, and no link


def _digest(calls: Calls, host: str, run: str, path: str) -> str:
    while True:
        found = calls.ask(host, messages.Digest(run, path), messages.Digested, _ANSWER_S)
        if found.sha256:
            return found.sha256


def _is_there(folder: RecordingFolder, name: str, size: int, sha256: str) -> bool:
    file = folder.file(name)
    if file.size() != size:
        return False
    with file.open() as opened, storage_errors(file.path, "read"):
        digest = hashlib.sha256()
        while data := opened.read(1 << 20):
            digest.update(data)
        return digest.hexdigest() == sha256


def _fetch(
    calls: Calls,
    host: str,
    run: str,
    file: messages.File,
    folder: RecordingFolder,
    name: str,
    sha256: str,
) -> None:
    """Bring one file, from where an earlier call has come to."""
    draft = f".{name}.part"
    with _draft(folder, draft) as part, storage_errors(folder.path / draft):
        digest = hashlib.sha256()
        while data := part.read(1 << 20):
            digest.update(data)
        offset = part.tell()
        while offset < file.size:
            request = messages.Fetch(run, file.path, offset)
            data = calls.ask(host, request, messages.Chunk, _ANSWER_S).data
            if not data or offset + len(data) > file.size:
                break
            part.write(data)
            digest.update(data)
            offset += len(data)
        part.flush()
        os.fsync(part.fileno())
    if offset != file.size or digest.hexdigest() != sha256:
        folder.file(draft).remove()
        raise HostError(
            f"{file.path} of host {host} is not what its digest says ({offset:,} of "
            f"{file.size:,} bytes came)",
            host=host,
            remedy="Try again: mlink gather RECORDING.",
        )
    folder.file(draft).rename(name)


@contextmanager
def _draft(folder: RecordingFolder, name: str) -> Iterator[BinaryIO]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with folder.opened() as fd, storage_errors(folder.path / name):
        opened = os.open(name, flags, 0o666, dir_fd=fd)
    with os.fdopen(opened, "r+b") as file:
        yield file


def _make_group(folder: RecordingFolder, run: str) -> None:
    """Make a host's folder a group of the recording, with the attributes that its part has."""
    of_host = read_toml(folder.file(_OF_HOST))
    if str(of_host.get("collection_id", "")).replace("-", "") != run:
        raise HostError(f"what {folder.name} has recorded is not of this run", host=folder.name)
    created = of_host.get("time_created")
    when = created if isinstance(created, datetime) else datetime.now().astimezone()
    write_toml(folder.file(MANIFEST), unit_manifest("group", bytes.fromhex(run), when))
    folder.file(_OF_HOST).remove()
