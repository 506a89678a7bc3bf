"""What a run's collection has about it: who, where, with what, and what was lost when."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from mlink.engine.account.gaps import GapLog
from mlink.engine.status import StreamStatus, SubscriptionStatus
from mlink.errors import StorageError
from mlink.recording.care.verify import verify_recording
from mlink.storage.place import Storage
from tests.integration.runs.test_run_life import CHAIN, FORWARD, SOURCE
from tests.support.bench_runner import BenchRunner


def attributes(result):
    return tomllib.loads((result.recording_dir / "attributes.toml").read_text())


def test_a_recording_has_who_where_and_with_what(bench: BenchRunner) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD)
    result = bench.run(
        0.5, subject="m7", experimenter="Ada", comment="first try", name="trial",
        storage=Storage(order=("time", "subject-id", "experiment-id")),
    )  # fmt: skip
    assert result.success, result.failures
    assert result.recording_dir.parts[-2:] == ("m7", "trial")
    assert result.recording_dir.parts[-3].startswith("20")
    found = attributes(result)
    assert (found["subject_id"], found["user_comment"]) == ("m7", "first try")
    assert found["collection_name"] == "trial"
    assert (found["bench_name"], found["success"]) == ("chain", True)
    assert {"mlink-hil", "python", "numpy", "av", "msgspec"} <= set(found["versions"])
    assert {"node", "kernel", "processors_online", "memory_bytes"} <= set(found["machine"])
    assert {module["name"] for module in found["modules"]} == {"source", "middle", "rows"}
    assert set(found["priorities"]) == {"source", "middle", "rows"}
    assert found["datasets"] == [
        path.parent.relative_to(result.recording_dir).as_posix()
        for path in sorted(result.recording_dir.rglob("*.csv"))
    ]
    assert all(text.startswith("nice ") for text in found["priorities"].values())
    stream = next(s for s in found["streams"] if s["name"] == "middle.out")
    (subscription,) = stream["subscriptions"]
    assert subscription["received"] == stream["sent"] > 0
    assert subscription["lost"] == 0
    manifest = tomllib.loads((result.recording_dir / "manifest.toml").read_text())
    assert manifest["authors"] == [{"name": "Ada"}]
    report = verify_recording(result.recording_dir)
    assert report.ok, report.findings


def test_a_failed_run_records_why_and_its_files_are_whole(bench: BenchRunner) -> None:
    middle = FORWARD + "\ndef run():\n    syl.raise_error('animal escaped')\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(5.0)
    found = attributes(result)
    assert found["success"] is False
    assert found["failure_reason"] == "middle (running): animal escaped"
    assert found["failures"][0]["module"] == "middle"
    report = verify_recording(result.recording_dir)
    assert report.ok, report.findings


def test_every_file_is_on_the_disk_when_the_run_has_ended(
    bench: BenchRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, tuple[int, int]] = {}
    force_out = os.fdatasync

    def spy(fd: int) -> None:
        found = os.fstat(fd)
        synced[os.readlink(f"/proc/self/fd/{fd}")] = (found.st_size, found.st_mtime_ns)
        force_out(fd)

    monkeypatch.setattr(os, "fdatasync", spy)
    result = bench.write(CHAIN, source=SOURCE, middle=FORWARD).run(0.5)
    files = [path for path in Path(result.recording_dir).rglob("*") if path.is_file()]
    assert {"run.log", "attributes.toml", "manifest.toml"} < {path.name for path in files}
    for path in files:
        found = path.stat()
        assert synced.get(str(path.resolve())) == (found.st_size, found.st_mtime_ns), path


def test_an_unknown_folder_of_the_order_is_refused(bench: BenchRunner) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD)
    with pytest.raises(StorageError, match="'mood' is not a folder"):
        bench.run(0.5, storage=Storage(order=("mood",)))


def test_gaps_have_their_times() -> None:
    log, subscription = GapLog(), SubscriptionStatus("slow", "in")
    stream = StreamStatus("cam", "frames", "Frame", subscriptions=[subscription])
    for second, lost in ((1, 0), (2, 3), (3, 3), (4, 10)):
        subscription.lost = lost
        log.watch([stream], second)
    gaps = [{"lost": 3, "seen_at_usec": 2_000_000}, {"lost": 7, "seen_at_usec": 4_000_000}]
    assert log.of("cam.frames", subscription) == {"gaps": gaps}
    assert log.of("cam.frames", SubscriptionStatus("other", "in")) == {"gaps": []}


def test_what_is_in_no_listed_gap_is_counted() -> None:
    log, subscription = GapLog(), SubscriptionStatus("slow", "in")
    stream = StreamStatus("cam", "frames", "Frame", subscriptions=[subscription])
    for second in range(300):
        subscription.lost += 2
        log.watch([stream], second)
    found = log.of("cam.frames", subscription)
    assert sum(gap["lost"] for gap in found["gaps"]) + found["lost_unlisted"] == 600
