"""What becomes of raw videos when a run is over: encoded at once, where their recorders want it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlink.encoding.jobs import pending_units
from mlink.errors import StorageError

if TYPE_CHECKING:
    from mlink.encoding.recording import EncodeReport, Progress


def is_due(recording: Path, *, success: bool) -> bool | None:
    """Tell whether a run's raw videos are to be encoded at once; None when there are none.

    Those of a run that has failed wait for `mlink encode`, as do those whose recorder says so
    (`deferred_encode_instant_start`).
    """
    try:
        wanted = [wanted for _, wanted in pending_units(recording)]
    except StorageError:  # its disk is gone, say; the run's own result tells that
        return None
    return (success and all(one.instant_start for one in wanted)) if wanted else None


def encode_after_run(
    recording: Path, *, success: bool, tell: Callable[[Progress], None] = lambda _progress: None
) -> EncodeReport | None:
    """Encode what is due, with `tell` called at each progress; None when nothing is."""
    if not is_due(recording, success=success):
        return None
    from mlink.encoding.recording import encode_recording

    return encode_recording(recording, tell=tell)
