"""The guest's initramfs: busybox, the modules of the first stage, its scripts and the job."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernel import kernel_version

_HERE = Path(__file__).resolve().parent
# What the first stage needs to reach the host's files; the rest is loaded from there.
_EARLY = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
_FILE, _PROGRAM, _FOLDER = 0o100644, 0o100755, 0o040755
_Entry = tuple[str, int, bytes]


def build(
    kernel: Path,
    command: Sequence[str],
    writable: Iterable[str],
    settings: dict[str, object],
) -> bytes:
    """Return the archive of a guest.

    Args:
        kernel: Folder of the unpacked kernel.
        command: The job, run in the present directory with the present environment.
        writable: Folders of the host that the guest may write to.
        settings: Variables of `stage2.sh` beside the kernel's: CAMS, FTDI and MARK.
    """
    version = kernel_version(kernel)
    modules = kernel / "lib/modules" / version
    order = _load_order(modules)
    settings = {"KVER": version, "MODULES": modules, **settings}
    texts = {
        "init": (_HERE / "stage1.sh").read_text(),
        "stage2": (_HERE / "stage2.sh").read_text(),
        "job": _job(command),
        "conf": "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in settings.items()),
        "rwdirs": "".join(f"{os.path.realpath(folder)}\n" for folder in writable),
        "mod/order": "".join(f"{Path(module).name}\n" for module in order),
    }
    entries: list[_Entry] = [(name, _FOLDER, b"") for name in ("bin", "mod", "dev")]
    entries += [
        (f"mod/{Path(module).name}", _FILE, (modules / module).read_bytes()) for module in order
    ]
    entries += [(name, _PROGRAM, os.fsencode(text)) for name, text in texts.items()]
    entries.append(("bin/busybox", _PROGRAM, Path("/bin/busybox").read_bytes()))
    return _cpio(entries)


def _load_order(modules: Path) -> list[str]:
    """Return the files of `_EARLY` and what they depend on, dependencies first."""
    lines = (modules / "modules.dep").read_text().splitlines()
    depends = {file: needs.split() for file, _, needs in (line.partition(":") for line in lines)}
    by_name = {Path(file).stem.replace("-", "_"): file for file in depends}
    order: list[str] = []
    for name in _EARLY:
        file = by_name[name]
        for needed in reversed([file, *depends[file]]):
            if needed not in order:
                order.append(needed)
    return order


def _job(command: Sequence[str]) -> str:
    """Return the shell script that runs the command as it would run here."""
    lines = [
        f"export {key}={shlex.quote(value)}"
        for key, value in os.environ.items()
        if re.fullmatch(r"[A-Za-z_]\w*", key)
    ]
    lines.append(f"cd {shlex.quote(str(Path.cwd()))} || exit 125")
    lines.append(f"exec {shlex.join(command)}")
    return "\n".join(lines) + "\n"


def _cpio(entries: Iterable[_Entry]) -> bytes:
    """Return an archive in the newc format of (name, mode, bytes)."""
    archive = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        header = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % value for value in header)
        archive += name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)
