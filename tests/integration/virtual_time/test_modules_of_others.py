"""Modules of other packages in virtual time: led in lock step, or refused in words."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest

import mlink
from tests.support.third_party import install

BENCH = """
[modules.ticks]
type = "ticker"
[modules.again]
type = "repeater"
inputs = { rows = "ticks.rows" }
[modules.kept]
type = "table"
inputs = { rows = "again.rows" }
"""


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")  # set by `install`, restored after the test
    install()


def bench(folder: Path, text: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(text)
    return path


def test_modules_that_keep_to_the_public_api_run_in_lock_step(tmp_path):
    path, found = bench(tmp_path, BENCH), []
    for out in ("first", "second"):
        result = mlink.run(path, duration_s=2, time="virtual", seed=1, out=tmp_path / out, order=())
        assert result.recording_dir is not None
        with mlink.open_recording(result.recording_dir) as recording:
            assert recording.attributes["time"] == "virtual"
            rows = recording.table("kept").rows
            assert [[int(cell) for cell in row] for row in rows[:2]] == [
                [10_000, 11_000],
                [20_000, 21_000],
            ]
            assert len(rows) == 200
        found.append(result.recording_dir)
    first, second = found
    files = [str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(first, second, files, shallow=False)[1:] == ([], [])


def test_an_item_that_a_thread_sends_fails_its_module_by_name(tmp_path):
    path = bench(tmp_path, '[modules.meter]\ntype = "threaded"\n')
    result = mlink.run(path, duration_s=60, time="virtual", record=False, check=False)
    assert [failure.module for failure in result.failures] == ["meter"]
    assert "the thread 'meter' sends on 'rows'" in result.failures[0].message
    assert "context.waiting" in result.failures[0].remedy
    assert mlink.run(path, duration_s=0.2, record=False).success


def test_one_that_does_not_state_that_it_can_is_refused(tmp_path):
    path = bench(tmp_path, '[modules.meter]\ntype = "silent"\n')
    with pytest.raises(mlink.BenchError, match="'silent' does not state that"):
        mlink.run(path, duration_s=1, time="virtual", record=False)
    result = mlink.run(path, duration_s=0.2, out=tmp_path / "real")
    assert result.recording_dir is not None
    with mlink.open_recording(result.recording_dir) as recording:
        assert recording.attributes["time"] == "real"
