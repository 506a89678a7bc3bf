"""The bench, script and tests printed in README.md and docs/hil.md run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.runs.test_run_life import streams
from tests.support import ROOT
from tests.support.bench_runner import BenchRunner
from tests.support.hil_examples import copy_example, run_pytest

IMPORTS = "import pytest\nfrom mlink_hil.testing import edge\n"


def block(page: str, language: str, marker: str) -> str:
    """Return the only code block of a page that contains the marker."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (found,) = [text for text in blocks if marker in text]
    return str(found)


def test_the_bench_and_the_script_of_the_readme_run(bench: BenchRunner) -> None:
    toml = block("README.md", "toml", "[bench]")
    toml = toml.replace('"virtual:uno"', '"virtual:uno?simulator=protocol"')
    result = bench.write(toml, loop=block("README.md", "python", "HwInputLine")).run(1.0)
    assert result.success, result.failures
    sent = streams(result)
    assert sent["board.fmdata"] >= 1  # the level at the start
    assert sent["loop.firmatactl-out"] >= 3  # two modes and the answer
    assert sent["cam.video"] > 15


@pytest.mark.any_pace
@pytest.mark.sim
@pytest.mark.parametrize(
    "test",
    [
        IMPORTS + block("README.md", "python", "mark.bench"),
        block("docs/hil.md", "python", "# test_led.py"),
    ],
    ids=["README.md", "docs/hil.md"],
)
def test_the_printed_test_passes_on_the_example(tmp_path: Path, test: str) -> None:
    folder = copy_example(tmp_path, "led-follows-button")
    (folder / "test_led.py").write_text(test)
    outcome = run_pytest(folder)
    assert outcome.code == 0, outcome.text
    assert outcome.counts["passed"] == 1
