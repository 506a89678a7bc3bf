"""A run with a view for each test, and the page of a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shown_run import LIMIT_S, Shown

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    shown = Shown(tmp_path)
    yield shown
    shown.close()


@pytest.fixture(scope="module")
def chromium():
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("NOT TESTED: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=LIMIT_S * 1000
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page whose errors fail the test, at its end."""
    context = chromium.new_context(  # axe needs to bypass the CSP; scripts obey it
        viewport={"width": 1280, "height": 900}, bypass_csp=True
    )
    context.set_default_timeout(LIMIT_S * 1000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []
