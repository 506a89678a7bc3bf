"""What the page of a recording is given: overview, stretches, pictures; words for damage."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest

from mlink.errors import StorageError
from mlink.modules.data.json_file import JsonFile
from mlink.storage.edl import create_dataset
from mlink.view.recordings.recorded import RecordedView
from mlink.view.thin import thinned
from tests.support.recorded.hostile import every_kind
from tests.support.recorded.recordings import RUN_ID, time_of


def with_json(path, name, titles, rows, **attributes):
    """Add a dataset of JSON to a recording."""
    dataset = create_dataset(path, name, collection_id=RUN_ID)
    file = JsonFile(dataset.set_data_file("data.json.zst"), {}, titles)
    file.write_rows(rows)
    file.close()
    dataset.set_attribute("row_count", len(rows))
    dataset.set_attribute("time_unit", "microseconds")
    for key, value in attributes.items():
        dataset.set_attribute(key, value)
    dataset.save()


@pytest.fixture
def path(tmp_path):
    path = every_kind(tmp_path)
    readings = [[at * 1000, 7, at % 2] for at in range(40)] + [[500, 8, 1]]
    with_json(path, "board", ["timestamp", "line_id", "value"], readings)
    return path


@pytest.fixture
def view(path):
    return RecordedView(path)


def streams(view):
    return {each.name: each for each in view.overview.streams}


def test_the_overview_has_all_streams_with_their_counts_over_time(view):
    about = view.overview
    assert (about.closed, about.success, about.length_s) == (True, True, 3.0)
    assert about.facts["subject"] == "m7"
    assert (about.first_usec, about.last_usec) == (0, 3_000_000)
    found = streams(view)
    assert set(found) >= {"video", "events/table", "readings", "signals", "board", "clock"}
    for name, count in (("video", 20), ("events/table", 20), ("readings", 50), ("signals", 40)):
        assert sum(found[name].counts) == count, name
    assert (found["video"].lost, found["video"].uncertainty_usec) == (0, 200.0)
    json.dumps(view.overview.facts)


def test_losses_have_their_times(path):
    attributes = path / "video" / "attributes.toml"
    attributes.write_text(attributes.read_text() + "\n[[gaps]]\nfound_at_usec = 400000\nlost = 3\n")
    assert streams(RecordedView(path))["video"].gaps == [400_000]


def test_lines_are_given_with_the_level_that_holds_before(view):
    part = view.part("board", 4_500, 6_500, 1000)
    assert part.columns["line"] == [7, 7, 7, 7, 8]
    assert part.columns["time_usec"] == [4000, 5000, 6000, 7000, 500]  # the file is not in order
    assert part.columns["value"] == [0.0, 1.0, 0.0, 1.0, 1.0]


def test_channels_are_given_in_their_physical_values(path):
    with_json(path, "ecg", ["timestamp", "a", "b"], [[0, 1, None], [1000, 2, 5]], data_scale=0.5)
    part = RecordedView(path).part("ecg", 0, 1000, 100)
    assert part.columns == {"time_usec": [0, 1000], "data": [[0.5, 1.0], [None, 2.5]]}
    assert part.last["titles"] == ["a", "b"]


def test_rows_are_those_about_the_cursor(view):
    part = view.part("events/table", 0, time_of(3), 0)
    assert part.last["titles"] == ["time_usec", "what"]
    assert part.columns["time_usec"][part.last["now"]] == time_of(3)
    assert part.columns["cells"][part.last["now"]][0] == str(time_of(3))
    assert len(part.columns["cells"]) == 20
    assert view.part("events/table", 0, -5, 0).last["now"] == -1


def test_pairs_of_a_clock_are_rows(view):
    part = view.part("clock", 0, 5_000, 0)
    assert len(part.columns["cells"]) == 20


@pytest.mark.parametrize(
    ("time", "index"), [(0, 0), (time_of(5), 5), (time_of(6) - 1, 5), (9**12, 19)]
)
def test_the_picture_is_the_frame_at_the_cursor(view, time, index):
    data = view.picture("video", time, 640)
    size = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + size])
    assert (head["index"], head["time_usec"]) == (index, time_of(index))
    assert head["before_usec"] == (time_of(index - 1) if index else None)
    assert head["after_usec"] == (time_of(index + 1) if index < 19 else None)
    assert data[4 + size :][:2] == b"\xff\xd8"


def test_what_cannot_be_shown_is_an_error_in_words(path):
    (path / "video" / "attributes.toml").write_text("[video]\npixels = 5\n")
    (path / "readings" / "data.json.zst").write_bytes(b"no zstd")
    (path / "events" / "table" / "table.csv").write_bytes(b"\xff\xfe;;;\n" * 5)
    view = RecordedView(path)
    assert streams(view)["signals"].counts
    for name in (*streams(view), "no such", "..", "../..", ""):
        for ask in (view.picture, view.part):
            with suppress(StorageError):
                ask(name, 0, 1000, *([100] if ask == view.part else []))


def test_a_stream_with_a_time_that_no_recording_has_is_refused_in_words(path):
    (path / "events" / "table" / "table.csv").write_text(f"time_usec;what\n0;a\n{2**62};b\n")
    view = RecordedView(path)
    assert view.overview.last_usec <= 1 << 53
    with pytest.raises(StorageError, match="far too large"):
        view.part("events/table", 0, 2**60, 10)


def test_of_many_points_extremes_and_the_last_stay():
    times, data = np.arange(100_000), np.zeros((100_000, 2))
    data[55_555, 0], data[77_777, 1], data[-1, 0] = 9.0, -4.0, 3.0
    data[10, 1] = np.nan
    found, values = thinned(times, data, 300)
    assert len(found) == len(values) <= 303
    assert np.nanmax(values[:, 0]) == 9.0
    assert np.nanmin(values[:, 1]) == -4.0
    assert (values[-1, 0], found[-1]) == (3.0, 99_999)
    assert (np.diff(found) >= 0).all()
