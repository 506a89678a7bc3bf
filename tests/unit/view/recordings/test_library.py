"""Which files a page can name: those below the folder, reached without links."""

from __future__ import annotations

import asyncio
import os
import threading

import msgspec
import pytest

from mlink.errors import MlinkError
from mlink.view.recordings.library import Library
from mlink.view.recordings.reader import Answer, Ask, Reader
from tests.support.recorded.recordings import closed_recording


@pytest.fixture
def folder(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for each in (outside, folder / "a"):
        each.mkdir(parents=True)
        (each / "manifest.toml").write_text("")
    (folder / "link").symlink_to(outside)
    (folder / "b").mkdir()
    (folder / "b" / "manifest.toml").symlink_to(outside / "manifest.toml")
    return folder


@pytest.mark.parametrize(
    "of",
    [
        "../outside",
        "/etc",
        "link",
        "b",
        "a/../../outside",
        "a\0",
        "none",
        "a/manifest.toml",
        "./a",
        "a/",
        "a//",
        "b/../a",
        "",
    ],
)
def test_nothing_outside_of_the_folder_is_named(folder, of):
    with pytest.raises(MlinkError, match="in the folder of this page"):
        Library(folder).reader(of)


def test_a_recording_is_read_by_one_process_at_a_time_and_few_stay(folder):
    library = Library(folder)
    first = library.reader("a")
    assert library.reader("a") is first
    for number in range(6):
        (folder / str(number)).mkdir()
        (folder / str(number) / "manifest.toml").write_text("")
        library.reader(str(number))
    assert library.reader("a") is not first


def test_a_reader_that_is_busy_is_not_ended_for_another_recording(tmp_path, monkeypatch):
    for name in "abcde":
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.toml").write_text("")
    go = threading.Event()

    def answer(_reader, ask):
        assert go.wait(60)
        return Answer(ask.what.encode())

    monkeypatch.setattr(Reader, "_answer", answer)

    async def ask():
        library = Library(tmp_path)
        asking = [asyncio.create_task(library.reader(each).ask(Ask(each))) for each in "abcd"]
        await asyncio.sleep(0)
        with pytest.raises(MlinkError, match="4 recordings are being read already"):
            library.reader("e")
        library.forget("a")  # it was repaired meanwhile
        assert library.reader("e")
        go.set()
        return await asyncio.gather(*asking)

    assert asyncio.run(ask()) == [b"a", b"b", b"c", b"d"]


def test_a_reader_answers_and_survives_its_process(tmp_path):
    async def ask():
        reader = Reader(closed_recording(tmp_path))
        first = await reader.ask(Ask("overview"))
        assert reader._process is not None
        os.kill(reader._process.pid, 9)
        with pytest.raises(MlinkError, match="has ended"):
            await reader.ask(Ask("overview"))
        with pytest.raises(MlinkError, match="no stream 'none'"):
            await reader.ask(Ask("part", "none"))
        second = await reader.ask(Ask("overview"))
        reader.close()
        return msgspec.json.decode(first), msgspec.json.decode(second)

    first, second = asyncio.run(ask())
    assert first == second
    assert {each["name"] for each in first["streams"]} == {"video", "events/table"}


def test_what_is_no_recording_is_refused_in_words(tmp_path):
    async def ask():
        reader = Reader(tmp_path)
        try:
            with pytest.raises(MlinkError, match="is not a recording"):
                await reader.ask(Ask("overview"))
        finally:
            reader.close()

    asyncio.run(ask())
