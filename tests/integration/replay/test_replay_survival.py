"""A run with `--replayable` that was killed: repaired, it replays up to where it was killed."""

from __future__ import annotations

import csv
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlink.recording
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.recording.journal.reading import Item, Journal, read_journal
from mlink.replay import Replayed, replay
from tests.support.bench_runner import BenchRunner
from tests.support.recorded.files import file_of
from tests.support.recorded.survival import PROMISED_USEC, Victim

BENCH = Path(__file__).parent / "replay_bench"
VICTIMS = ["everything", "engine", "loop", "video"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    BenchRunner(tmp_path)  # the next run of any bench removes the folders of dead ones


def journal_of(recording: Path) -> Journal:
    return read_journal(recording / "journal" / "loop" / "loop.journal.msgpack.zst")


def met(recording: Path) -> list[list[str]]:
    """What the script wrote down, as far as rows are whole."""
    text = file_of(recording, "met").read_bytes().decode(errors="ignore")
    lines = text[: text.rfind("\n") + 1].splitlines()
    return list(csv.reader(lines, delimiter=";"))


def times_of_frames(recording: Path) -> set[int]:
    with mlink.recording.open(recording) as opened:
        known = opened.kinds["videos/cam"] == "video"
        return set(opened.video("video").times_usec.tolist()) if known else set()


def items(journal: Journal, frames: set[int]) -> list[Item]:
    """What the script met, without the frames that the recording does not hold."""
    return [
        item
        for item in journal.of_kind(Item)
        if isinstance(item.what, bytes) or item.what[1] in frames
    ]


def as_met(item: Item) -> tuple[object, ...]:
    """Return an item without its number in the stream, which skips what the source lost."""
    return item.time_usec, item.port, item.what


def killed_and_replayed(folder: Path, what: str, after_s: float) -> tuple[Path, Replayed]:
    """Kill it then, repair what is left, and replay it."""
    shutil.copytree(BENCH, folder / "bench")
    victim = Victim.begin_bench(folder / "bench", journal=True)
    try:
        time.sleep(after_s)
        victim.kill(what)
        victim.wait_until_quiet()
    finally:
        victim.end()
    recording = victim.recording
    before = verify_recording(recording)
    assert before.of_level("damage") == []
    report = repair_recording(recording)
    assert report.ok, (report.failed, report.after and report.after.findings)
    assert repair_recording(recording).done == []
    outcome = replay(recording, bench=BENCH, out_dir=folder / "replayed")
    assert outcome.result.success, outcome.result.failures
    return recording, outcome


def check_what_was_met(recording: Path, outcome: Replayed) -> None:
    """All that the journal holds was met again, in its order and at its times."""
    assert outcome.result.recording_dir is not None
    again = Path(outcome.result.recording_dir)
    frames = times_of_frames(recording)
    lab, replayed = items(journal_of(recording), frames), items(journal_of(again), frames)
    assert lab
    assert [as_met(item) for item in replayed[: len(lab)]] == [as_met(item) for item in lab]
    rows, rows_again = met(recording), met(again)
    end_usec = max(record.time_usec for record in journal_of(recording).records())
    lost = [item for item in journal_of(recording).of_kind(Item) if item not in lab]
    if lost:  # frames that the video had not got yet: the recorder ran behind
        assert any("are not in the recording" in text for _, _, text in outcome.logs)
        end_usec = lost[0].time_usec
    times = [int(row[1]) if row[0] == "time" else -1 for row in rows]
    known = (number for number, usec in enumerate(times) if 0 <= usec < end_usec)
    shared = max(known, default=-1)  # none, where it was killed before its first rows were out
    assert rows_again[: shared + 1] == rows[: shared + 1]  # pixels, and answers of the clock
    assert max(times) - end_usec < PROMISED_USEC


@pytest.mark.parametrize("what", VICTIMS)
def test_a_run_that_was_killed_replays_up_to_where_it_was_killed(folder: Path, what: str) -> None:
    check_what_was_met(*killed_and_replayed(folder, what, random.uniform(1.5, 3.0)))


def test_that_its_journal_ends_early_is_noted(folder: Path) -> None:
    _, outcome = killed_and_replayed(folder, "everything", 1.5)
    assert "the journal of loop ends early: its writer was killed" in outcome.notes


@pytest.mark.long
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("what", VICTIMS)
def test_fifty_runs_that_were_killed_replay_up_to_where_they_were_killed(
    folder: Path, what: str
) -> None:
    for number in range(50):
        (one := folder / str(number)).mkdir()
        check_what_was_met(*killed_and_replayed(one, what, random.uniform(0.8, 4.0)))
        shutil.rmtree(one)
