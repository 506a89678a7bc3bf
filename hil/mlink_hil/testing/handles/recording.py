"""A test's handle for the recording of its run."""

from __future__ import annotations

from pathlib import Path

from mlink.errors import StorageError
from mlink_hil.testing.bench_run import BenchRun


class RecordingHandle:
    """The EDL folder that a run writes; it is complete when the run has ended."""

    def __init__(self, run: BenchRun) -> None:
        self._run = run

    @property
    def path(self) -> Path:
        """The recording's folder.

        Raises:
            StorageError: The run is not recorded (--mlink-record=never).
        """
        path = self._run.tap.recording_dir
        if path is None:
            raise StorageError(
                "this run is not recorded",
                remedy="Run pytest with --mlink-record=always or on-failure.",
            )
        return path

    def finish(self) -> Path:
        """End the run, encode what is left to encode, and return the folder.

        The next test that wants the run starts a new one.

        Raises:
            StorageError: The run is not recorded.
            MlinkError: The run, or the encoding, has failed.
        """
        path = self.path
        self._run.stop()
        self._run.check()
        self._run.encode()
        return path
