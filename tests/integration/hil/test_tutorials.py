"""The tutorials of docs/tutorials.md run as they are printed, in virtual time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.any_pace, pytest.mark.sim]

SECTIONS = {
    text.partition("\n")[0]: text
    for text in re.split(r"^## ", (ROOT / "docs/tutorials.md").read_text(), flags=re.MULTILINE)[1:]
}
SAYS = {
    "A button and an LED": r"(\d+) of \1 edges answered, median \d+ µs.*\d\d presses",
    "Flashes, a camera and the brightness of its picture": r"cam\.video: 151 frames at 50\.0 Hz",
    "Tests of a device that blinks, for every commit": r"2 passed.*2 failed",
    "A control loop and its plant": r"400 readings sent",
}
"""What the commands of a tutorial print, among other things."""


def commands_of(section: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("title", SECTIONS)
def test_a_tutorial_runs_as_it_is_printed(tmp_path: Path, title: str) -> None:
    section = SECTIONS[title]
    named = r"^```(?:python|toml)\n# (\S+)\n(.*?)^```"
    for name, text in re.findall(named, section, re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    printed = ""
    for line in commands_of(section):
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200
        )
        printed += done.stdout
        assert (done.returncode == 1) is ("# fails" in line), f"{line}: {printed}{done.stderr}"
        assert done.returncode < 2, f"{line}: {printed}{done.stderr}"
    assert re.search(SAYS[title], printed, re.DOTALL), printed
    for picture in re.findall(r"--plot (\S+)", section):
        assert (tmp_path / picture).stat().st_size > 5000
