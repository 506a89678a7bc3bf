"""Encoding of raw videos right after a run, if the settings of their recorders allow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlink.encoding.jobs import pending_units
from mlink.errors import StorageError

if TYPE_CHECKING:
    from mlink.encoding.recording import EncodeReport, Progress


def is_due(recording: Path, *, success: bool) -> bool | None:
    """Return whether the raw videos of a run are to be encoded now; None when there are none.

    Videos of a failed run wait for `mlink encode`, as do those of recorders with
    `deferred_encode_instant_start = false`.

    Args:
        recording: Folder of the recording.
        success: Whether the run succeeded.
    """
    try:
        wanted = [wanted for _, wanted in pending_units(recording)]
    except StorageError:  # e.g. its disk is gone, which the result of the run reports
        return None
    return (success and all(one.instant_start for one in wanted)) if wanted else None


def encode_after_run(
    recording: Path,
    *,
    success: bool,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> EncodeReport | None:
    """Encode the raw videos of a run that are to be encoded now.

    Args:
        recording: Folder of the recording.
        success: Whether the run succeeded.
        on_progress: Called with the progress of each file.

    Returns:
        The result; None when nothing was to be encoded now.

    Raises:
        StorageError: A process still writes to the recording.
    """
    if not is_due(recording, success=success):
        return None
    from mlink.encoding.recording import encode_recording

    return encode_recording(recording, on_progress=on_progress)
