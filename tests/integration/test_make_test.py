"""`make test` runs tests that failed once more, and never turns a failure green."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.any_pace

MARKERS = """
[pytest]
markers =
    long
    real_time
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that has `.ci/test.sh` and one test in each folder of real-time tests."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/test.sh", tmp_path / ".ci")
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "pytest").write_text(
        "#!/bin/sh\nexport PYTEST_DISABLE_PLUGIN_AUTOLOAD=1\n"  # they take most of the time
        f'exec {sys.executable} -m pytest -p xdist -p randomly "$@"\n'
    )
    (programs / "pytest").chmod(0o755)
    (tmp_path / "pytest.ini").write_text(MARKERS)
    for folder in ("tests/integration", "tests/torture", "tests/unit/modules/video"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests/integration/test_waits.py").write_text(
        "import pytest\n@pytest.mark.real_time\ndef test_waits(): pass\n"
    )
    return tmp_path


def run(project: Path, tests: str) -> tuple[int, str]:
    """Run `make test` with these tests; return its exit code and what it printed."""
    (project / "tests/unit/test_some.py").write_text(tests)
    done = subprocess.run(
        [".ci/test.sh", "1", "1"], cwd=project, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_test_that_fails_twice_fails_the_build(project: Path) -> None:
    code, printed = run(project, "def test_wrong(): assert False\ndef test_right(): pass\n")
    assert code == 1, printed
    assert "1 failed: once more, alone" in printed
    assert "please report" not in printed


def test_a_test_that_passes_alone_is_listed(project: Path) -> None:
    code, printed = run(
        project,
        "from pathlib import Path\n"
        "def test_unsteady():\n"
        "    seen = Path(__file__).with_name('seen')\n"
        "    first = not seen.exists()\n"
        "    seen.touch()\n"
        "    assert not first\n",
    )
    assert code == 0
    last = printed.splitlines()[-2:]
    assert "please report" in last[0]
    assert last[1].split() == ["tests/unit/test_some.py::test_unsteady"]


def test_failures_in_more_than_three_files_are_not_run_again(project: Path) -> None:
    wrong = "def test_wrong(): assert False\ndef test_wrong_too(): assert False\n"
    for number in range(3):
        (project / f"tests/unit/test_{number}.py").write_text(wrong)
    code, printed = run(project, wrong)
    assert code == 1, printed
    assert "8 tests of 4 files failed: none runs again" in printed
    assert "once more" not in printed


def test_tests_that_cannot_be_collected_fail_the_build(project: Path) -> None:
    code, printed = run(project, "import no_such_module\n")
    assert code != 0
    assert "please report" not in printed
