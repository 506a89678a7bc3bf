"""What a host says of itself: its devices, load, free disk, versions, modules and clock."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Final

from mlink import catalog
from mlink.api.devices import list_devices
from mlink.errors import HostError
from mlink.hosts.link.calls import Message, mlink_version
from mlink.hosts.link.lease import Lease

_MOST_DEVICES: Final = 500
_TEXT: Final = 500


class AskAbout(Message, frozen=True):
    """Asks a host about itself; answered by `About`."""

    devices: bool = True
    """Whether to look for its devices, which takes a while."""


class Device(Message, frozen=True):
    """A device of a host, as in `mlink devices`."""

    kind: str
    address: str
    name: str = ""
    identity: tuple[str, ...] = ()
    problem: str = ""


class About(Message, frozen=True):
    """A host, as it is now."""

    host: str
    version: str
    """Of mlink."""
    python: str
    system: str
    processors: int
    load: float
    """Processes that ran or waited for a processor, mean of the last minute."""
    memory_free_bytes: int
    disk_free_bytes: int
    """Where its recordings go."""
    recordings: str
    allow_scripts: bool
    modules: tuple[str, ...]
    """Types of modules that are installed."""
    devices: tuple[Device, ...] = ()
    problems: tuple[str, ...] = ()
    """Why some devices were not found."""
    lease: Lease = Lease()


class ReadClock(Message, frozen=True):
    """Asks a host for its clocks; answered by `ClockReading`."""


class ClockReading(Message, frozen=True):
    """Both clocks of a host, read one after the other."""

    monotonic_ns: int
    system_ns: int


def read_clock(_request: ReadClock) -> ClockReading:
    """Return the clocks of this host."""
    return ClockReading(time.monotonic_ns(), time.time_ns())


def about_here(
    request: AskAbout, *, host: str, recordings: Path, allow_scripts: bool, lease: Lease
) -> About:
    """Return what this host says of itself.

    Args:
        request: What is asked for.
        host: Its name.
        recordings: Folder of its recordings.
        allow_scripts: Whether controllers may send scripts.
        lease: Who has it.
    """
    found = list_devices() if request.devices else None
    devices = tuple(
        Device(
            kind=device.kind,
            address=device.address[:_TEXT],
            name=device.name[:_TEXT],
            identity=tuple(each[:_TEXT] for each in device.identity[:16]),
            problem=device.problem[:_TEXT],
        )
        for device in (found or ())[:_MOST_DEVICES]
    )
    problems = [] if found is None else [text[:_TEXT] for text in found.problems[:50]]
    if found is not None and len(found) > _MOST_DEVICES:
        problems.append(f"{len(found) - _MOST_DEVICES} more devices are not listed")
    return About(
        host=host,
        version=mlink_version(),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        memory_free_bytes=_memory_free(),
        disk_free_bytes=_disk_free(recordings),
        recordings=str(recordings),
        allow_scripts=allow_scripts,
        modules=tuple(sorted(catalog.module_types())),
        devices=devices,
        problems=tuple(problems),
        lease=lease,
    )


def _memory_free() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _disk_free(folder: Path) -> int:
    """Return the free bytes where a folder is, or is going to be."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError as error:
            text = f"the disk of {folder} cannot be looked at: {error.strerror}"
            raise HostError(text, remedy="Correct `recordings` in agent.toml.") from error
    return 0
