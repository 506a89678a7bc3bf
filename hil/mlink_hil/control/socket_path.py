"""Where the control socket of a simulated board is, and how long its path may be."""

from __future__ import annotations

import os
from pathlib import Path

from mlink.errors import DeviceError

_LONGEST_PATH = 107
"""Bytes of a Unix socket's path: `sun_path` of sockaddr_un less its final zero."""


def control_path(work_dir: Path, name: str) -> Path:
    """Return the path of the control socket of a simulated board or chip.

    Args:
        work_dir: Folder of the run.
        name: The board's name in the bench file.
    """
    return work_dir / f"{name}.sock"


def check_socket_path(path: Path) -> None:
    """Check that a Unix socket can be bound to a path.

    Raises:
        DeviceError: The path is longer than the kernel allows.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise DeviceError(
            f"the path of the board's control socket is too long ({_LONGEST_PATH} bytes at most): "
            f"{path}",
            remedy="Set XDG_RUNTIME_DIR or TMPDIR to a shorter path.",
        )
