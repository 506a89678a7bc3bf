"""Runs the worked examples of hil/benches, and test files like theirs, in a pytest of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

_LIMIT_SEC = 500
"""Of a session: virtual time may be slow on a busy machine."""
BENCHES = ROOT / "hil" / "benches"


@dataclass
class Outcome:
    """How an inner pytest session ended."""

    code: int
    text: str
    counts: dict[str, int]


def run_pytest(folder: Path, *arguments: str, all_plugins: bool = False) -> Outcome:
    """Run the tests of a folder as a user would, with our plugin alone or with all there are."""
    command = [sys.executable, "-m", "pytest"]
    if all_plugins:
        command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    else:
        command += ["-p", "mlink_hil.plugin", "-p", "pytest_timeout"]
    command += [f"--timeout={_LIMIT_SEC}", "-c", "/dev/null", "-p", "no:cacheprovider"]
    # A session of its own folder: in the common one it would clean up after all others, too.
    command += ["--rootdir", str(folder), "--basetemp", str(folder.parent / "inner")]
    done = subprocess.run(
        [*command, str(folder), *arguments],
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "" if all_plugins else "1",
            "PYTHONPATH": str(ROOT),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_LIMIT_SEC,
        check=False,
    )
    return Outcome(done.returncode, done.stdout + done.stderr, counts_of(done.stdout))


def counts_of(output: str) -> dict[str, int]:
    """Return how many tests passed, failed and so on, from the last line that pytest printed."""
    summary = output.strip().splitlines()[-1]
    return {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", summary)}


def copy_example(parent: Path, name: str, file: str = "", old: str = "", new: str = "") -> Path:
    """Copy an example, with `old` replaced by `new` in one of its files."""
    folder = parent / name
    shutil.copytree(BENCHES / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if file:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    return folder
