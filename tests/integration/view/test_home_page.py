"""`mlink view FOLDER` in Debian's Chromium: benches, runs that it starts, recordings."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.hil_examples import copy_example
from tests.support.recorded.recordings import closed_recording
from tests.support.shown_page import (
    api,
    assert_everybody_can_use_it,
    keep_picture,
    needs_axe,
    wait_for,
)
from tests.support.shown_run import BENCH, LIMIT_S, SCRIPT, Served, post


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "folder"
    for name, bench in (("good", BENCH), ("wrong", BENCH.replace("fps", "fsp"))):
        (folder / name).mkdir(parents=True)
        (folder / name / "bench.toml").write_text(bench)
        (folder / name / "loop.py").write_text(SCRIPT)
    closed_recording(folder)
    (folder / "elsewhere").symlink_to("/etc")
    served = Served(folder, "view")
    yield served
    served.close()


def test_two_recordings_side_by_side_show_one_moment(page, home: Served) -> None:
    (first,) = (path.parent for path in home.folder.glob("*/manifest.toml"))
    shutil.copytree(first, home.folder / "second")
    page.goto(home.url)
    for name in (first.name, "second"):
        page.get_by_label(f"{name} side by side").check()
    page.get_by_role("link", name="See both side by side").click()
    frames = [page.frame_locator("iframe").nth(number) for number in range(2)]
    for frame in frames:
        frame.locator("article.panel").first.wait_for()
    for frame, other, key in zip(frames, frames[::-1], ("End", "Home"), strict=True):
        before = other.locator("#at").inner_text()
        frame.locator("#panels").press(key)
        api.expect(other.locator("#at")).not_to_have_text(before)
        api.expect(other.locator("#at")).to_have_text(frame.locator("#at").inner_text())
    keep_picture(page, "side-by-side")


@pytest.mark.sim
def test_a_newcomer_starts_the_demo_presses_the_button_and_opens_the_recording(
    page, home: Served
) -> None:
    pytest.importorskip("yasimavr")
    copy_example(home.folder, "led-follows-button")
    page.goto(home.url)
    assert "token" not in page.url
    wrong = page.locator("details").filter(has_text="wrong/bench.toml")
    api.expect(wrong.locator(".badge")).to_have_text("has errors")
    api.expect(wrong.locator("pre")).to_contain_text("fsp")
    bench = page.locator("details").filter(has_text="led-follows-button/bench.toml")
    api.expect(bench.locator(".badge")).to_have_text("good")
    bench.locator("summary").click()
    bench.get_by_label("duration in s").fill("600")
    bench.get_by_label("subject").fill("m9")
    bench.get_by_label("settings").fill("cam.framerate=20")
    bench.get_by_label("command its modules").check()
    bench.get_by_role("button", name="Start").click()
    page.get_by_role("link", name="watch run 1").click()
    wait_for(page, "phase", "running")
    loop = page.get_by_role("article", name="loop.table-out").locator("tbody tr")
    loop.first.wait_for()  # the LED answers
    api.expect(page.get_by_role("article", name="cam.video")).to_contain_text("640×480 uint8")
    page.get_by_role("button", name="pause finger.control").click()
    by_hand = page.get_by_role("region", name="commands that were given").locator("tbody tr")
    api.expect(by_hand.first).to_contain_text("taken")
    page.wait_for_timeout(500)  # a press that has begun ends
    before = loop.count()
    page.get_by_role("button", name="step finger.control").click()
    api.expect(loop).to_have_count(before + 2)  # pressed, released
    page.get_by_role("button", name="line 8 high").click()
    leds = page.get_by_role("table", name="lines of board.fmctl").get_by_role("row", name="line 8")
    api.expect(leds.get_by_role("cell").first).to_have_text("1")  # the script has left it low
    page.get_by_label("line", exact=True).fill("7")
    page.get_by_role("form", name="command a line").get_by_role("button", name="Send").click()
    api.expect(by_hand.first).to_contain_text("refused: line 7")
    latency = page.get_by_role("article", name="loop.firmatactl-out")
    api.expect(latency).to_contain_text("from input to command: half within")
    keep_picture(page, "control")
    page.get_by_role("button", name="Stop the run").click()
    wait_for(page, "phase", "completed")
    api.expect(page.get_by_role("button", name="step finger.control")).to_be_disabled()
    page.get_by_role("link", name=re.compile("Open the recording .*m9")).click()
    wait_for(page, "result", "completed")
    api.expect(page.locator("#facts")).to_contain_text("m9")
    page.get_by_role("button", name=re.compile("view-commands")).wait_for()
    cursor = page.get_by_role("slider").first
    at = page.url
    cursor.press("ArrowRight")
    page.wait_for_url(lambda url: url != at)
    page.get_by_role("link", name="Folder").click()
    recordings = page.locator("#recordings")
    api.expect(recordings.get_by_role("link", name=re.compile("m9"))).to_be_visible()
    run = page.get_by_role("article", name="run 1")
    api.expect(run.get_by_role("link", name="watch run 1")).to_have_text("Look back")
    api.expect(page.locator("#devices")).to_contain_text("virtual:")
    api.expect(page.locator("#doctor .badge").first).to_be_visible()


@needs_axe
def test_everybody_can_use_it(page, home: Served):
    page.goto(home.url)
    api.expect(page.locator("#benches .badge.bad")).to_be_visible()
    api.expect(page.locator("#recordings")).to_contain_text("completed")
    api.expect(page.locator("#doctor .badge").first).to_be_visible()
    page.locator("summary").first.click()
    assert_everybody_can_use_it(page, "home")


def test_only_who_leads_from_its_own_page_starts_and_stops_runs(home: Served):
    start = {"bench": "good/bench.toml"}
    cookie, guest = home.cookie(), home.cookie(home.guest_url)
    own = {"Cookie": cookie, "Origin": home.origin}
    assert post(home, "/home/start", start)[0] == 401
    for headers in ({"Cookie": cookie}, {"Cookie": guest, "Origin": home.origin}):
        status, answer = post(home, "/home/start", start, **headers)
        assert (status, answer["error"]) == (400, "this page may only look")
    assert post(home, "/home/start", start, Cookie=cookie, Origin="http://evil.example")[0] == 421
    for body, message in (
        ({"bench": "../good/bench.toml"}, "in the folder of this page"),
        ({"bench": "elsewhere/bench.toml"}, "in the folder of this page"),
        ({"bench": "good/loop.py"}, "is no bench"),
        ({"bench": "good"}, "is no bench"),
        ({"bench": 5}, "this is no request"),
        ("x" * 100_000, "at most"),
        ({**start, "out": "/"}, "this is no request"),
        ({**start, "subject": "a\0b"}, "a character"),
    ):
        status, answer = post(home, "/home/start", body, **own)
        assert status == 400
        assert message in answer["error"], body
    assert "no run 7" in post(home, "/home/stop", {"number": 7}, **own)[1]["error"]
    assert home.get("/run/1")[0] == 401
    for path in ("/home/check?bench=../x", "/home/list/run"):
        assert home.get(path, Cookie=cookie)[0] == 400
    assert json.loads(home.get("/home/runs", Cookie=cookie)[2]) == []
    benches = json.loads(home.get("/home/benches", Cookie=guest)[2])
    assert (benches["role"], benches["benches"]) == (
        "guest",
        ["good/bench.toml", "wrong/bench.toml"],
    )


def test_runs_end_with_the_program_of_the_page(home: Served):
    own = {"Cookie": home.cookie(), "Origin": home.origin}
    options = {"bench": "good/bench.toml", "settings": ["--out=/nowhere"]}
    assert post(home, "/home/start", options, **own)[1] == {"number": 1}
    post(home, "/home/start", {"bench": "good/bench.toml"}, **own)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        good, wrong = json.loads(home.get("/home/runs", Cookie=own["Cookie"])[2])
        if wrong["code"] and any("loop │ line" in line for line in good["lines"]):
            break
        time.sleep(0.2)
    live, own_page = f"ws{home.origin[4:]}/live/1", {"origin": home.origin}
    for path, headers in (("/1", {}), ("/1", {"Cookie": "x=y"}), ("/9", {"Cookie": own["Cookie"]})):
        with pytest.raises(InvalidStatus):
            connect(live + path, additional_headers=headers, **own_page)
    with connect(live + "/2", additional_headers={"Cookie": own["Cookie"]}, **own_page) as page:
        welcome = json.loads(page.recv(LIMIT_S))
    assert (welcome["bench"]["name"], welcome["folder"]) == ("shown", str(home.folder))
    assert wrong["code"] == 2  # a setting is a setting, not an option
    home.close()
    (recorded,) = home.folder.glob("recordings/*/*/attributes.toml")
    assert "recording_length_msec" in recorded.read_text()
