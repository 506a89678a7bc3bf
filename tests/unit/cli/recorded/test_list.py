"""`mlink list`: recordings below a folder, newest first, with their results and losses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.cli import app
from mlink.storage.edl import create_collection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for day, name in enumerate(("first", "second", "third", "fourth"), 1):
        path = tmp_path / "subject" / name
        collection = create_collection(
            path, collection_id=bytes(16), generator="test",
            time_created=datetime(2026, 11, day, tzinfo=UTC),
        )  # fmt: skip
        dataset = collection.create_dataset("rows")
        dataset.set_attribute("items_lost", day - 1)
        dataset.save()
        if name != "third":
            collection.save(
                success=name != "second",
                failure_reason="board: lost" if name == "second" else "",
                attributes={"recording_length_msec": day * 1000},
            )
    (tmp_path / "subject" / "fourth" / "manifest.toml").write_text("not [ toml")
    (tmp_path / "other").mkdir()
    return tmp_path


def test_newest_first_with_result_length_and_losses(folder: Path) -> None:
    done = CliRunner().invoke(app, ["list", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [Path(each["path"]).name for each in found] == ["third", "second", "first", "fourth"]
    assert [each["result"] for each in found] == ["not closed", "failed", "completed", "damaged"]
    assert [each["length_s"] for each in found] == [None, 2.0, 1.0, None]
    assert [each["lost"] for each in found] == [2, 1, 0, None]
    assert found[1]["reason"] == "board: lost"


def test_the_account_of_a_run_counts_and_not_what_its_recorders_saw(folder: Path) -> None:
    counts = {"module": "rows", "port": "rows", "received": 90, "lost": 7, "refused": 7}
    counts |= {"not_taken": 3, "gaps": []}
    streams = [
        {
            "name": "source.out", "sent": 100, "lost_at_source": 0,
            "subscriptions": [counts, counts | {"module": "loop", "lost": 2, "not_taken": 0}],
        }
    ]  # fmt: skip
    collection = create_collection(
        folder / "fifth", collection_id=bytes(16), generator="test",
        time_created=datetime(2026, 11, 5, tzinfo=UTC),
    )  # fmt: skip
    dataset = collection.create_dataset("rows")
    dataset.set_attribute("items_lost", 1)
    dataset.save()
    collection.save(success=True, attributes={"streams": streams})
    found = json.loads(CliRunner().invoke(app, ["list", str(folder), "--json"]).stdout)
    assert (found[0]["lost"], found[0]["not_taken"]) == (9, 3)
    assert [each["not_taken"] for each in found[1:]] == [None] * 4
    assert "taken" in CliRunner().invoke(app, ["list", str(folder)]).stdout


def test_as_text(folder: Path) -> None:
    done = CliRunner().invoke(app, ["list", str(folder)])
    assert done.exit_code == 0
    assert "failed: board: lost" in done.stdout


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["list", str(tmp_path)])
    assert (done.exit_code, done.stdout.strip()[:13]) == (0, "no recordings")
    assert CliRunner().invoke(app, ["list", str(tmp_path / "none")]).exit_code == 2


def test_folders_that_are_too_deep_are_named(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 80)).mkdir(parents=True)
    result = CliRunner().invoke(app, ["list", str(tmp_path)])
    assert (
        "1 folder(s) were not searched (in more than 64 others, or not readable)" in result.output
    )
    assert "no recordings below" in result.output
