"""Errors about the node of a V4L2 camera: why it cannot be opened, and what to do."""

from __future__ import annotations

import errno
import grp
import os
from pathlib import Path

from mlink.errors import DeviceError


def check_node(node: Path) -> None:
    """Check that the node exists and may be read and written.

    Raises:
        DeviceError: It does not, or this user is not permitted to use it.
    """
    if not node.exists():
        present = ", ".join(str(path) for path in sorted(node.parent.glob("video*"))) or "none"
        raise DeviceError(
            f"there is no camera {node} (present: {present})",
            remedy="Plug it in; `mlink devices` lists cameras and the names that stay the same.",
        )
    if not os.access(node, os.R_OK | os.W_OK):
        raise DeviceError(
            f"this user may not read and write {node}",
            remedy=f"{group_command(node)}, then log in again.",
        )


def group_command(node: Path) -> str:
    """Return the command that adds this user to the group of a device node."""
    try:
        group = grp.getgrgid(node.stat().st_gid).gr_name
    except (KeyError, OSError):
        group = "video"
    return f"sudo usermod -aG {group} $USER"


def opening_failed(node: Path, silent_sec: float = 0) -> DeviceError:
    """Return the error for a node that exists but delivers no pictures.

    Args:
        node: The node.
        silent_sec: How long it delivered nothing, in s; 0 if it could not be opened.
    """
    what = (
        f"{node} gave no picture within {silent_sec:g} s" if silent_sec else f"cannot open {node}"
    )
    if users := processes_using(node):
        return DeviceError(f"{what}: in use by {', '.join(users)}", remedy="End that program.")
    return DeviceError(
        f"{what}: it is busy, or not a capture node",
        remedy="`mlink devices` lists the nodes that capture; end other programs that use it, "
        "or plug the camera in again.",
    )


def processes_using(node: Path, proc: Path = Path("/proc")) -> list[str]:
    """Return "name (pid)" of other processes that have the node open.

    Those of other users are not visible.
    """
    target = os.path.realpath(node)
    found = []
    for folder in proc.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            if any(os.path.realpath(link) == target for link in (folder / "fd").iterdir()):
                found.append(f"{(folder / 'comm').read_text().strip()} ({folder.name})")
        except OSError:  # another user's process, or one that ended meanwhile
            continue
    return found


def gone(node: Path) -> bool:
    """Return whether the camera of an open node was unplugged.

    Other errors, such as missing permissions, do not mean that it is gone.
    """
    try:
        os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO)
    return False
