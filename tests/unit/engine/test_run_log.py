"""The log in a recording: one line per message, and a limit with the number of lines left out."""

from __future__ import annotations

import logging

from mlink.engine import recording as recording_module
from mlink.engine.options import RunOptions
from mlink.engine.recording import Recording
from mlink.engine.status import RunResult
from mlink.storage.place import Storage
from tests.support.engine_fakes import bench_of, module


def test_a_log_without_end_is_bounded_and_counts_what_it_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "_LOG_BYTES", 2000)
    options = RunOptions(out_dir=tmp_path, storage=Storage(order=()))
    recording = Recording(bench_of(module("bad")), options, bytes(16))
    for number in range(1000):
        recording.write_log(0, "bad", logging.INFO, f"value {number}")
    recording.write_log(0, "bad", logging.WARNING, "this one is kept")
    recording.close(RunResult(success=True))
    lines = (recording.path / "run.log").read_text().splitlines()
    kept = [line for line in lines if "value" in line]
    assert sum(len(line) + 1 for line in kept) <= 2000
    assert lines[-2].endswith("this one is kept")
    assert lines[-1].startswith(f"… {1000 - len(kept)} lines left out")
