"""Disks that go wrong on purpose: one that is full soon, one that can be pulled. They need root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LOOP_SET_STATUS64, _LOOP_GET_STATUS64 = 0x4C04, 0x4C05
_SIZE_LIMIT_OFFSET = 32
"""Of lo_sizelimit in struct loop_info64 (linux/loop.h), 232 bytes long."""


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
    """An ext4 disk whose requests all fail from `pull` on; `image` is what it then holds."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        self.mounted = folder / "disk"
        self.mounted.mkdir(parents=True)
        with self.image.open("wb") as file:
            file.truncate(48 << 20)
        _run("mkfs.ext4", "-q", str(self.image))
        self._device = _run("losetup", "-f", "--show", str(self.image)).strip()
        _run("mount", self._device, str(self.mounted))

    def pull(self) -> None:
        """From now on reads and writes of the device fail with an I/O error."""
        with open(self._device, "rb") as device:
            info = bytearray(232)
            fcntl.ioctl(device, _LOOP_GET_STATUS64, info)
            struct.pack_into("<Q", info, _SIZE_LIMIT_OFFSET, 4096)  # bytes that are left of it
            fcntl.ioctl(device, _LOOP_SET_STATUS64, bytes(info))

    @contextmanager
    def plugged_in_again(self) -> Iterator[Path]:
        """Mount what the disk held when it was pulled, as after a reboot."""
        self.close()
        _run("mount", "-o", "loop", str(self.image), str(self.mounted))
        try:
            yield self.mounted
        finally:
            _run("umount", str(self.mounted))

    def close(self) -> None:
        """Unmount."""
        subprocess.run(["umount", "-l", str(self.mounted)], check=False, capture_output=True)
        subprocess.run(["losetup", "-d", self._device], check=False, capture_output=True)


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
