"""`mlink view RECORDING`: its page in Debian's Chromium, and who may ask for what."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.recorded.hostile import every_kind
from tests.support.recorded.recordings import time_of
from tests.support.shown_page import (
    api,
    assert_everybody_can_use_it,
    keep_picture,
    needs_axe,
    wait_for,
)
from tests.support.shown_run import Served


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Served]:
    path = every_kind(tmp_path)
    served = Served(tmp_path, "view", path.name)
    yield served
    served.close()


def test_one_can_scrub_through_a_recording(page, recorded: Served) -> None:
    page.goto(recorded.url)
    wait_for(page, "result", "completed")
    assert "token" not in page.url
    picture = page.get_by_role("article", name="video")
    api.expect(picture).to_contain_text("frame 0 at")
    events = page.get_by_role("article", name="events/table")
    api.expect(events.locator("tbody tr")).to_have_count(20)
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    api.expect(picture).to_contain_text("frame 19 at")
    picture.get_by_role("button", name="frame before").click()
    api.expect(picture).to_contain_text("frame 18 at")
    current = events.locator("[aria-current]")
    api.expect(current).to_contain_text(str(time_of(18)))
    page.locator("#overview canvas").first.click(position={"x": 2, "y": 8})
    api.expect(picture).to_contain_text("frame 0 at")
    api.expect(page.get_by_role("article", name="readings")).to_contain_text("a")
    keep_picture(page, "recording")


def test_a_link_leads_to_the_moment_and_the_streams(page, recorded: Served) -> None:
    page.goto(recorded.url + f"#t={time_of(7)}&open=video")
    api.expect(page.get_by_role("article")).to_have_count(1)
    api.expect(page.get_by_role("article", name="video")).to_contain_text("frame 7 at")
    page.get_by_role("button", name="signals").click()
    api.expect(page.get_by_role("article", name="signals")).to_contain_text("a")
    assert f"t={time_of(7)}&open=video%0Asignals" in page.url


def test_playing_moves_the_cursor_to_the_end(page, recorded: Served) -> None:
    page.goto(recorded.url + "#t=2900000&open=video")
    page.get_by_role("button", name="Play").click()
    api.expect(page.locator("#at")).to_contain_text("0:03.0 of 0:03.0")
    api.expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_damaged_files_are_named_and_the_others_shown(page, tmp_path: Path) -> None:
    path = every_kind(tmp_path)
    (path / "readings" / "data.json.zst").write_bytes(b"no zstd")
    (video,) = (path / "video").glob("*.mkv")
    video.write_bytes(b"no video")
    served = Served(tmp_path, "view", path.name)
    try:
        page.goto(served.url + "#open=video%0Areadings%0Asignals")
        api.expect(page.get_by_role("article", name="video")).to_contain_text("cannot be decoded")
        api.expect(page.get_by_role("article", name="readings")).to_contain_text("is torn")
        api.expect(page.get_by_role("article", name="signals")).to_contain_text("a")
        keep_picture(page, "recording-damaged")
    finally:
        served.close()


def test_an_ended_program_is_named(page, recorded: Served) -> None:
    page.goto(recorded.url)
    wait_for(page, "result", "completed")
    recorded.close()
    page.get_by_role("button", name="clock").click()
    api.expect(page.get_by_role("article", name="clock")).to_contain_text("connection is lost")


def test_a_recording_is_verified_exported_downloaded_and_repaired_from_its_page(
    page, recorded: Served
) -> None:
    attributes = recorded.folder / "recording" / "attributes.toml"
    text = attributes.read_text()
    attributes.write_text("\n".join(x for x in text.splitlines() if not x.startswith("success")))
    page.goto(recorded.url)
    wait_for(page, "result", "not closed")
    works = page.get_by_role("region", name="Files")
    works.get_by_role("button", name="Verify").click()
    verified = works.get_by_role("article", name="verify 1")
    api.expect(verified).to_contain_text("has findings")
    api.expect(verified).to_contain_text("the outcome of the run is missing")
    works.get_by_role("button", name="Export").click()
    exported = works.get_by_role("article", name="export 2")
    api.expect(exported.locator(".badge")).to_have_text("good")
    with page.expect_download() as download:
        exported.get_by_role("button", name="download export 2").click()
    with tarfile.open(download.value.path()) as archive:
        assert "recording-csv/events-table.csv" in archive.getnames()
    works.get_by_label("what to download").select_option("video")
    with page.expect_download() as download:
        works.get_by_role("button", name="Download", exact=True).click()
    assert download.value.suggested_filename == "recording-video.tar"
    with tarfile.open(download.value.path()) as archive:
        stored = archive.extractfile("recording/video/video.mkv")
        assert stored is not None
        assert stored.read() == (attributes.parent / "video" / "video.mkv").read_bytes()
    keep_picture(page, "recording-works")
    page.on("dialog", lambda dialog: dialog.accept())
    works.get_by_role("button", name="Repair").click()
    wait_for(page, "result", "failed")  # it is closed now, and the page knows
    api.expect(works.get_by_role("article", name="repair 3")).to_contain_text("done: ")


@needs_axe
def test_everybody_can_use_it(page, recorded: Served) -> None:
    page.goto(recorded.url)
    api.expect(page.get_by_role("article", name="video")).to_contain_text("frame 0 at")
    assert_everybody_can_use_it(page, "recording")


def test_what_is_asked_for_is_checked(recorded: Served) -> None:
    assert recorded.get("/recording/overview")[0] == 401
    cookie = recorded.cookie(recorded.guest_url)
    status, _, body = recorded.get("/recording/overview", Cookie=cookie)
    assert status == 200
    assert {each["name"] for each in json.loads(body)["streams"]} >= {"video", "signals"}
    for query, message in (
        ("overview?of=..", "in the folder of this page"),
        ("overview?of=/etc", "in the folder of this page"),
        ("overview?of=video", "recording's own folder"),
        ("part?stream=none", "no stream 'none'"),
        ("part?stream=signals&begin=x", "'x' is no whole number"),
        ("picture?stream=signals", "has no pictures"),
        ("picture?stream=video&most=-5&end=" + "9" * 4000, ""),
    ):
        status, _, body = recorded.get(f"/recording/{query}", Cookie=cookie)
        assert status == (400 if message else 200), query
        assert message.encode() in body
    for query, message in (
        ("part=../x", "no such dataset"),
        ("part=none", "read"),
        ("part=%00", "no such dataset"),
        ("of=..", "in the folder of this page"),
        ("work=1", "this export is not there"),
    ):
        status, _, body = recorded.get(f"/recording/download?{query}", Cookie=cookie)
        assert (status, message.encode() in body) == (400, True), (query, body)
    elsewhere = {"Cookie": cookie, "Sec-Fetch-Site": "same-site"}  # another port of this computer
    assert recorded.get("/recording/download", **elsewhere)[0] == 403
    assert recorded.get("/", **elsewhere)[0] == 200  # a link to the page
    assert recorded.get("/recording/run", Cookie=cookie)[0] == 404
    assert recorded.get("/live/1", Cookie=cookie)[0] == 404
    evil = recorded.get("/recording/overview", Cookie=cookie, Origin="http://evil.example")
    assert evil[0] == 421
