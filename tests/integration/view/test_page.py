"""The page of a view in Debian's Chromium: what a person sees of a run, and does with it.

With MLINK_SCREENSHOTS=FOLDER the pictures of the pages are kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.hil_examples import copy_example
from tests.support.shown_run import LIMIT_S, Shown

api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: apt-get install chromium")

PAGE = ROOT / "runtime/mlink/view/page"
AXE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / (
    "mlink/peers/node_modules/axe-core/axe.min.js"
)
LIMIT_MSEC = LIMIT_S * 1000
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 800}


@pytest.fixture(scope="module")
def chromium() -> Iterator[api.Browser]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=LIMIT_MSEC
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: api.Browser) -> Iterator[api.Page]:
    """A page whose errors fail the test, at its end."""
    context = chromium.new_context(viewport=WIDE, bypass_csp=True)  # for axe; scripts obey it
    context.set_default_timeout(LIMIT_MSEC)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def open_page(page: api.Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("#diagram svg")
    wait_for(page, "phase", "running")


def wait_for(page: api.Page, id: str, text: str) -> None:
    api.expect(page.locator(f"#{id}")).to_contain_text(text, timeout=LIMIT_MSEC)


def keep_picture(page: api.Page, name: str) -> None:
    if folder := os.environ.get("MLINK_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def serious(page: api.Page) -> list[str]:
    """Return what axe-core finds to be a serious hindrance to some people."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then((result) => result.violations)")
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


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
    chart.hover()
    before = page.evaluate("document.querySelector('.panel .note.number').textContent")
    page.mouse.wheel(0, -500)
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


def test_a_guest_has_no_button_to_stop(page, shown: Shown) -> None:
    open_page(page, shown.guest_url)
    assert page.get_by_role("button", name="Stop the run").count() == 0


@pytest.mark.skipif(not AXE.is_file(), reason="NOT TESTED: axe-core; tests/support/setup_peers.sh")
def test_people_who_see_or_hear_otherwise_can_use_it(page, shown: Shown) -> None:
    open_page(page, shown.url)
    api.expect(page.get_by_role("article", name="src.frames-out")).to_contain_text("frame ")
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert serious(page) == []
            keep_picture(page, f"{theme}-{size['width']}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"]  # nothing to scroll sideways but the diagram


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
