"""Deferred encoding at the end of a run."""

from __future__ import annotations

from collections.abc import Callable

from mlink.engine.status import Failure, RunResult

_REPORT = "files_to_encode"
"""What a recorder reports that has left files raw."""


def encode_raw_videos(
    result: RunResult, on_progress: Callable[[object], None] = lambda _progress: None
) -> None:
    """Encode what a run has recorded raw, as its recorders want it; what fails is in the result.

    An exception that `on_progress` raises ends the encoding and is passed on.
    """
    if result.recording_dir is None or not any(_REPORT in each for each in result.reports.values()):
        return  # without loading an encoder
    from mlink.encoding.after_run import encode_after_run

    report = encode_after_run(result.recording_dir, success=result.success, on_progress=on_progress)
    for text in [] if report is None else report.failed:
        result.success = False
        remedy = f"Encode again: mlink encode {result.recording_dir}"
        result.failures.append(Failure("", "encode", f"not encoded: {text}", remedy))
