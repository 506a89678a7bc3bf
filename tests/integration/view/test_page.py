"""The page of a run in Debian's Chromium: what a person sees of a run, and does with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlink_hil.sim.boards.intel_hex import read_hex
from tests.integration.view.test_stepping import Stepped
from tests.support import ROOT
from tests.support.boards.elf_files import elf_with_symbols
from tests.support.hil_examples import copy_example
from tests.support.shown_page import (
    api,
    assert_everybody_can_use_it,
    keep_picture,
    needs_axe,
    wait_for,
)
from tests.support.shown_run import Shown

PAGE = ROOT / "runtime/mlink/view/page"


def open_page(page: api.Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("#diagram svg")
    wait_for(page, "phase", "running")


@pytest.mark.sim
def test_a_newcomer_sees_the_light_answer_and_stops_the_run(page, tmp_path: Path) -> None:
    pytest.importorskip("yasimavr")
    shown = Shown(copy_example(tmp_path, "led-follows-button"))
    try:
        open_page(page, shown.url)
        api.expect(page.get_by_role("heading", level=1)).to_have_text("led-follows-button")
        picture = page.get_by_role("article", name="cam.video")
        api.expect(picture).to_contain_text("640×480 uint8")
        lit = "(canvas) => canvas.getContext('2d').getImageData(0, 0, 50, 50).data.some((v) => v)"
        assert picture.locator("canvas").first.evaluate(lit)
        readings = page.get_by_role("article", name="board.fmdata")
        api.expect(readings).to_contain_text("line 7")
        api.expect(readings).to_contain_text("times ±")
        table = page.get_by_role("article", name="loop.table-out")
        table.locator("tbody tr").nth(3).wait_for()
        edges = page.get_by_role("button", name="stream finger.edges")
        api.expect(edges).to_contain_text("/s")
        edges.click()
        page.get_by_role("article", name="finger.edges").get_by_text("line 8").wait_for()
        keep_picture(page, "running")
        page.evaluate("scrollTo(0, 0)")
        keep_picture(page, "view", whole=False)  # docs/images/view.png, the README's picture
        page.get_by_role("button", name="Stop the run").click()
        wait_for(page, "phase", "completed")
        wait_for(page, "failure", "stopped from the view")
        keep_picture(page, "ended")
        text = shown.end()
        assert shown.process.returncode == 0, text
    finally:
        shown.close()


def test_a_person_can_look_back_and_return_to_the_present(page, shown: Shown) -> None:
    open_page(page, shown.url + "#src.float-out")
    live = page.get_by_role("button", name="Live")
    api.expect(live).to_have_attribute("aria-pressed", "true")
    chart = page.get_by_role("article", name="src.float-out").locator(".chart").first
    for _ in range(50):  # the chart can move away once, below what the first items bring
        chart.hover()
        before = page.evaluate("document.querySelector('.panel .note.number').textContent")
        page.mouse.wheel(0, -500)
        page.wait_for_timeout(100)
        if live.get_attribute("aria-pressed") == "false":
            break
    api.expect(live).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("document.querySelector('.panel .note.number').textContent") != before
    page.keyboard.press("l")
    api.expect(live).to_have_attribute("aria-pressed", "true")


def test_what_is_open_is_in_the_link_and_is_kept_for_the_next_visit(page, shown: Shown) -> None:
    open_page(page, shown.url)
    while (closing := page.get_by_role("button", name=re.compile("^close "))).count():
        closing.first.click()
    api.expect(page.get_by_role("article")).to_have_count(0)
    page.get_by_role("button", name="stream loop.out").press("Enter")
    api.expect(page.get_by_role("article", name="loop.out")).to_be_visible()
    assert page.url.endswith("#loop.out")
    page.goto(shown.origin + "/")
    api.expect(page.get_by_role("article")).to_have_count(1)
    api.expect(page.get_by_role("article", name="loop.out")).to_be_visible()


def test_a_failure_is_the_headline_with_its_cause_and_remedy(page, tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "import syntalos_mlink as syl\n"
        "def run():\n    syl.wait(15_000)\n    raise ValueError('<b>broken</b>')\n"
    )
    shown = Shown(tmp_path)
    try:
        page.goto(shown.url)
        wait_for(page, "phase", "failed")
        wait_for(page, "failure", "<b>broken</b>")  # a text, not a tag
        wait_for(page, "failure", "→")
        keep_picture(page, "failed")
    finally:
        shown.close()


def test_a_lost_connection_and_a_stalled_one_look_different(page, shown: Shown) -> None:
    open_page(page, shown.url)
    subprocess.run(["kill", "-STOP", str(shown.program())], check=True)
    wait_for(page, "phase", "nothing arrives")
    wait_for(page, "failure", "overloaded")
    subprocess.run(["kill", "-CONT", str(shown.program())], check=True)
    wait_for(page, "phase", "running")
    api.expect(page.locator("#failure")).to_be_hidden()
    subprocess.run(["kill", "-KILL", str(shown.program())], check=True)
    wait_for(page, "phase", "connection lost")
    wait_for(page, "failure", "The connection is lost")


def test_a_page_that_is_open_when_the_run_is_killed_shows_that(page, shown: Shown) -> None:
    open_page(page, shown.url)
    page.evaluate("""() => {
        window.seen = [];
        const badge = document.getElementById("phase");
        const note = () => { if (seen.at(-1) !== badge.textContent) seen.push(badge.textContent); };
        new MutationObserver(note).observe(badge, { childList: true, characterData: true });
    }""")
    shown.process.kill()
    wait_for(page, "phase", "the run is gone")
    wait_for(page, "failure", "it was killed")
    api.expect(page.get_by_role("button", name="Stop the run")).to_be_disabled()
    assert "connection lost" not in page.evaluate("seen")
    page.reload()  # the program stays for those who look again
    wait_for(page, "phase", "the run is gone")


def test_a_guest_has_no_button_to_stop(page, shown: Shown) -> None:
    open_page(page, shown.guest_url)
    assert page.get_by_role("button", name="Stop the run").count() == 0


@needs_axe
def test_people_who_see_or_hear_otherwise_can_use_it(page, shown: Shown) -> None:
    open_page(page, shown.url)
    api.expect(page.get_by_role("article", name="src.frames-out")).to_contain_text("frame ")
    assert_everybody_can_use_it(page, "run")


def test_a_link_on_another_site_opens_the_page_which_loads_nothing_from_elsewhere(
    page, shown: Shown
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("about:blank")
    page.evaluate("(url) => { location.href = url; }", shown.url)  # a link on another site
    page.wait_for_selector("#diagram svg")
    assert "token" not in page.url
    assert all(url.startswith((shown.origin, "blob:", "data:")) for url in asked), asked
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 300_000


def test_its_program_does_not_import_what_runs_a_bench() -> None:
    """It starts quickly, and a fault of a page cannot reach a device."""
    done = subprocess.run(
        [sys.executable, "-c", "import mlink.view.program, sys\nprint(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert not loaded & {"mlink.engine.run", "mlink.worker.life", "cv2", "numpy", "serial"}


@needs_axe
@pytest.mark.sim
def test_a_browser_steps_to_an_edge_and_shows_a_variable_on_small_and_dark_screens(
    page, tmp_path: Path
) -> None:
    shown = Stepped(tmp_path)
    image = read_hex(tmp_path / "dut-firmware/firmware/lamp-good.hex")
    symbols = {"lamp_port": (0x800025, 1), "stack": (0x8008F0, 16)}
    (tmp_path / "dut-firmware/firmware/lamp.elf").write_bytes(elf_with_symbols(image, symbols))
    page.goto(shown.url)
    wait_for(page, "stepping", "The run stands at 0.000000 s")
    page.select_option("[name=chip]", "lamp")
    page.select_option("[name=which]", "rising")
    page.click("text=Next edge")
    wait_for(page, "stepping", "pin 13 rose")
    page.fill("[name=symbols]", "lamp_port stack")
    page.fill("[name=elf]", "firmware/lamp.elf")
    page.click("button:text-is('Look')")
    wait_for(page, "stepping", "lamp_port = 32")  # PORTB: pin 13 alone
    assert_everybody_can_use_it(page, "stepping")
    page.fill("[name=elf]", "firmware/none.elf")
    page.click("button:text-is('Look')")
    wait_for(page, "stepping", "no file")
    page.click("text=Go on")
    shown.end()
    shown.close()
