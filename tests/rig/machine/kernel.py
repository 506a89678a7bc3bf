"""The guest's kernel: Debian's own, unpacked into the cache; and the packages the rig needs."""

from __future__ import annotations

import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "rig"
PACKAGES = (
    "qemu-system-x86",
    "busybox-static",
    "kmod",
    "udev",
    "v4l-utils",
    "libusb-1.0-0",
    "socat",
)
_PREFIX = "linux-image-"
_XZ = b"\xfd7zXZ\0"


class RigError(Exception):
    """The rig cannot be set up or started; the text is the reason."""


def report(*words: object) -> None:
    """Write a line to stderr, where it cannot mix with the command's output."""
    sys.stderr.write(f"rig: {' '.join(map(str, words))}\n")
    sys.stderr.flush()


def missing_packages() -> list[str]:
    """Return the names of the Debian packages that are not installed."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES]
    done = subprocess.run(
        query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    installed = done.stdout.splitlines()
    return [package for package in PACKAGES if f"{package} installed" not in installed]


def find_kernel() -> Path | None:
    """Return the folder of the newest unpacked kernel in the cache, or None."""
    found = [folder for folder in CACHE.glob(f"{_PREFIX}*") if (folder / "vmlinux").exists()]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def kernel_version(kernel: Path) -> str:
    """Return the version of an unpacked kernel, the name of its modules' folder."""
    return kernel.name.removeprefix(_PREFIX)


def set_up() -> None:
    """Install the missing Debian packages and unpack Debian's kernel into the cache.

    Raises:
        RigError: On a machine that is not an x86-64 one, or without Debian's kernel.
        subprocess.CalledProcessError: When apt-get or dpkg fails.
    """
    if platform.machine() != "x86_64":
        raise RigError(
            f"needs an x86-64 host (this is {platform.machine()}): the guest runs its programs"
        )
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    missing = missing_packages()
    if missing or not (find_kernel() or sudo):
        subprocess.run([*sudo, "apt-get", "-qq", "update"], check=False)
    if missing:
        report("installing", *missing)
        install = ["apt-get", "install", "-qqy", "--no-install-recommends", *missing]
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        subprocess.run([*sudo, *environment, *install], check=True, stdout=sys.stderr)
    if not find_kernel():
        _fetch_kernel()


def _fetch_kernel() -> None:
    image = _image_package()
    report("fetching", image)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder) / "root"
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", image]
        subprocess.run(download, cwd=folder, check=True, stdout=sys.stderr)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
        version = image.removeprefix(_PREFIX)
        subprocess.run(["/sbin/depmod", "-b", str(root), version], check=True)
        # Unpacked, the kernel starts 3 s sooner under emulation (by QEMU's PVH entry).
        (packed,) = (root / "boot").glob("vmlinuz-*")
        data = packed.read_bytes()
        kernel = lzma.LZMADecompressor().decompress(data[data.index(_XZ) :])
        (root / "vmlinux").write_bytes(kernel)
        for unused in ("boot", "usr"):
            shutil.rmtree(root / unused)
        root.rename(CACHE / image)


def _image_package() -> str:
    """Return the name of the package that linux-image-amd64 depends on."""
    done = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"],
        check=False,
        env={**os.environ, "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found = re.search(r"Depends: (linux-image-\d\S+)", done.stdout)
    if not found:
        raise RigError("apt offers no package linux-image-amd64: this is not Debian")
    return found[1]
