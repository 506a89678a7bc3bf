"""Disks that go wrong on purpose: one that is full soon, one that can be pulled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parent / "pulled_disk.cpp"


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a disk of this size."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class PulledDisk:
    """A disk that can be pulled, for a program that runs in `environment` (see pulled_disk.cpp).

    What was not brought onto it by fsync is lost then, as with a real one, and writes fail.
    """

    def __init__(self, folder: Path) -> None:
        self.mounted = folder / "disk"
        self._held = folder / "held"
        self.mounted.mkdir(parents=True)
        self._held.mkdir()
        library = folder / "pulled_disk.so"
        command = ["g++", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "PULLED_DISK_DIR": str(self.mounted),
            "PULLED_DISK_HELD": str(self._held),
        }

    def pull(self) -> None:
        """From now on writes fail with an I/O error."""
        (self._held / "pulled").touch()

    def plug_in_again(self, folder: Path) -> None:
        """Make `folder` what the disk held: names, and contents as of each file's last fsync."""
        for path in sorted(self.mounted.rglob("*")):
            there = folder / path.relative_to(self.mounted)
            if path.is_dir():
                there.mkdir(parents=True)
                continue
            held = self._held / str(path.stat().st_ino)
            there.write_bytes(held.read_bytes() if held.exists() else b"")


def _run(*command: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PATH": path}
        )
    except FileNotFoundError:
        pytest.skip(f"needs {command[0]}")
    if os.geteuid() != 0 or done.returncode:
        pytest.skip(f"needs root and a kernel that lets it: {command[0]}: {done.stderr.strip()}")
    return done.stdout
