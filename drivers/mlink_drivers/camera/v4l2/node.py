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


def opening_failed(
    node: Path, error: OSError | None = None, *, why: str = "", silent_sec: float = 0
) -> DeviceError:
    """Return the error for a node that exists but delivers no pictures.

    Args:
        node: The node.
        error: What the driver answered.
        why: The reason, if it is known without such an answer.
        silent_sec: How long it delivered nothing, in s; 0 if it could not be opened.
    """
    what = (
        f"{node} gave no picture within {silent_sec:g} s" if silent_sec else f"cannot open {node}"
    )
    number = error.errno if error is not None else None
    busy = number == errno.EBUSY or silent_sec
    if busy and (users := processes_using(node)):
        return DeviceError(f"{what}: in use by {', '.join(users)}", remedy="End that program.")
    reason, remedy = _REFUSALS.get(number or 0, ("", ""))
    if error is not None and not reason:
        reason = error.strerror or str(error)
    return DeviceError(
        f"{what}: {why or reason or 'the camera is silent'}",
        remedy=remedy
        or "`mlink devices` lists the nodes that capture, `mlink devices --modes` what they "
        "offer; plug the camera in again.",
    )


_REFUSALS = {
    errno.EBUSY: (
        "it is in use",
        "End other programs that use it: programs of other users are not shown here.",
    ),
    errno.ENOTTY: ("it is no camera", "`mlink devices` lists the nodes that capture."),
    errno.ENOSPC: (
        "the USB has no bandwidth left for it",
        'Use another USB controller, a smaller size or framerate, or pixel_format = "MJPG".',
    ),
    errno.EPIPE: (
        "its media pipeline is not set up for this size and format",
        "Set formats and links with media-ctl first.",
    ),
    errno.ENOMEM: (
        "there is no memory for its pictures",
        "Choose a smaller size; on a Raspberry Pi raise the size of the CMA.",
    ),
}
"""Why a driver refuses to open or stream, and what to do, by the number of the error."""


def went_away(node: Path) -> DeviceError:
    """Return the error for a camera that was unplugged while it was in use."""
    return DeviceError(
        f"the camera {node} went away during the run",
        remedy="Plug it in again, at a port without power saving; "
        'on_loss = "continue" lets a run wait for it.',
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
