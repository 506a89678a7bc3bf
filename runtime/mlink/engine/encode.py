"""Encodes videos that were recorded raw, when a run is over."""

from __future__ import annotations

from collections.abc import Callable

from mlink.engine.status import Failure, RunResult

_REPORT = "files_to_encode"
"""Key that a recorder reports when it has left raw files."""


def has_raw_videos(result: RunResult) -> bool:
    """Return whether a recorder has left raw files; without any, no encoder need be imported."""
    return result.recording_dir is not None and any(
        _REPORT in each for each in result.reports.values()
    )


def encode_raw_videos(
    result: RunResult, on_progress: Callable[[object], None] = lambda _progress: None
) -> None:
    """Encode the files that a run has recorded raw, where their recorder requests it after the run.

    Args:
        result: The run's result; failures are added to it, and it is then no success.
        on_progress: Called with the progress of each file. An exception that it raises ends the
            encoding and is passed on.
    """
    if result.recording_dir is None or not has_raw_videos(result):
        return
    from mlink.encoding.after_run import encode_after_run

    report = encode_after_run(result.recording_dir, success=result.success, on_progress=on_progress)
    for text in [] if report is None else report.failed:
        result.success = False
        remedy = f"Encode again: mlink encode {result.recording_dir}"
        result.failures.append(Failure("", "encode", f"not encoded: {text}", remedy))
