"""Tests of the rig, or with a fixture for their file, have one process: it is set up once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

TESTS = """
import os, pathlib
def record(request):
    name = f"{request.node.name} of {request.path.name}"
    pathlib.Path(os.environ["RAN"], name).write_text(os.environ["PYTEST_XDIST_WORKER"])
"""
EACH = "def test_{0}(request):\n    record(request)\n"


def test_what_is_set_up_once_runs_in_one_process_and_others_meanwhile_elsewhere(
    tmp_path: Path,
) -> None:
    ran = tmp_path / "ran"
    ran.mkdir()
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_xdist_make_scheduler")
    shared = 'import pytest\n@pytest.fixture(scope="module")\ndef run(): ...\n'
    for folder, files in (("rig", "ab"), ("unit", "cd"), ("integration", "e")):
        for name in files:
            path = tmp_path / "tests" / folder / f"test_{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            tests = "".join(EACH.format(number) for number in range(10))
            path.write_text(TESTS + (shared if name == "e" else "") + tests)
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "xdist"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "inner")]
    done = subprocess.run(
        [*command, "-n", "2", "--import-mode=importlib", f"--rootdir={tmp_path}", str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "RAN": str(ran), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    processes = {file.name: file.read_text() for file in ran.iterdir()}
    assert len(processes) == 50
    (of_the_rig,) = {which for name, which in processes.items() if name[-4:-3] in "ab"}
    assert len({which for name, which in processes.items() if name[-4:-3] == "e"}) == 1
    assert {which for name, which in processes.items() if name[-4:-3] in "cd"} - {of_the_rig}
