"""What tests do with the pages of views in a browser.

With MLINK_SCREENSHOTS=FOLDER their pictures are kept.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.shown_run import LIMIT_S

api = pytest.importorskip("playwright.sync_api")
api.expect.set_options(timeout=LIMIT_S * 1000)
AXE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / (
    "mlink/peers/node_modules/axe-core/axe.min.js"
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 800}
needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason="NOT TESTED: axe-core; tests/support/setup_peers.sh"
)


def wait_for(page: api.Page, id: str, text: str) -> None:
    api.expect(page.locator(f"#{id}")).to_contain_text(text)


def keep_picture(page: api.Page, name: str, *, whole: bool = True) -> None:
    if folder := os.environ.get("MLINK_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def assert_everybody_can_use_it(page: api.Page, name: str) -> None:
    """Check colours, names and width, dark and light, on large and small screens."""
    page.add_script_tag(path=AXE)
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            found = page.evaluate("axe.run().then((result) => result.violations)")
            serious = [
                f"{each['id']}: {node['html'][:120]} {node['failureSummary'][:300]}"
                for each in found
                if each["impact"] in ("serious", "critical")
                for node in each["nodes"]
            ]
            assert serious == []
            keep_picture(page, f"{name}-{theme}-{size['width']}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"]  # nothing to scroll sideways but the diagram
