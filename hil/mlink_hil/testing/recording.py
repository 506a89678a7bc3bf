"""A test's handle on the recording of its run."""

from __future__ import annotations

from pathlib import Path

from mlink.errors import StorageError
from mlink_hil.testing.bench_run import BenchRun


class RecordingHandle:
    """The EDL folder that a run writes; complete when the run has ended."""

    def __init__(self, run: BenchRun) -> None:
        self._run = run

    @property
    def path(self) -> Path:
        """The recording's folder; StorageError when the run is not recorded."""
        path = self._run.tap.recording_dir
        if path is None:
            raise StorageError(
                "this run is not recorded",
                remedy="Run pytest with --mlink-record=always or on-failure.",
            )
        return path

    def finish(self) -> Path:
        """End the run, so that all files are closed and encoded, and return the folder."""
        path = self.path
        self._run.stop()
        self._run.check()
        self._run.encode()
        return path
