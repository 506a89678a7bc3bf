"""OpenCV that cannot be loaded: the libraries for its windows are missing, or its files are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlink.modules.image.canvas import HighguiWindow
from mlink.refusals import refusal

LIBRARY = "libGL.so.1: cannot open shared object file: No such file or directory"
APT = "sudo apt-get install libgl1 libglib2.0-0"
HEADLESS = "pip install --force-reinstall --no-deps opencv-python-headless"
STUBS = {
    "no library": (f"raise ImportError({LIBRARY!r})", LIBRARY, APT),
    "no package": ("raise ModuleNotFoundError(\"No module named 'cv2'\")", "No module", HEADLESS),
    "half removed": ("", "parts of its files are missing", HEADLESS),
}
BENCH = """
[bench]
name = "film"
[modules.cam]
type = "camera-generic"
device = "virtual:scene"
"""


@pytest.fixture
def mlink(tmp_path):
    """Run `mlink` with another cv2; return (exit code, all that it printed)."""
    (tmp_path / "bench.toml").write_text(BENCH)

    def mlink(stub: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "stubs/cv2").mkdir(parents=True)
        (tmp_path / "stubs/cv2/__init__.py").write_text(stub)
        done = subprocess.run(
            [sys.executable, "-m", "mlink", *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "stubs")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return mlink


@pytest.mark.parametrize("fault", STUBS)
def test_check_names_the_command_that_installs_it(mlink, fault):
    stub, reason, remedy = STUBS[fault]
    code, text = mlink(stub, "check", "bench.toml")
    assert code == 2
    assert reason in text
    assert remedy in text
    assert "internal" not in text
    assert "✔" not in text


@pytest.mark.parametrize("fault", STUBS)
def test_doctor_names_it_too(mlink, fault):
    stub, reason, remedy = STUBS[fault]
    code, text = mlink(stub, "doctor", "--json")
    (found,) = [each for each in json.loads(text)["findings"] if each["check"] == "OpenCV"]
    assert code == 1
    assert found["state"] == "bad"
    assert reason in found["found"]
    assert remedy in found["remedy"]


def test_a_run_names_it_too(mlink):
    stub, reason, remedy = STUBS["no library"]
    code, text = mlink(stub, "run", "bench.toml", "--for", "1", "--no-record", "--plain")
    assert code == 1
    assert reason in text
    assert remedy in text


@pytest.mark.parametrize(
    ("library", "remedy"),
    [("libGL.so.1", APT), ("libxcb.so.1", APT), ("libgthread-2.0.so.0", APT),
     ("libportaudio.so.2", "apt-file")],
)  # fmt: skip
def test_each_missing_library_has_its_remedy(library, remedy):
    found = refusal(ImportError(LIBRARY.replace("libGL.so.1", library)))
    assert found is not None
    assert library in found.message
    assert remedy in found.remedy


def test_an_opencv_without_windows_does_all_but_windows(mlink, monkeypatch):
    stub = "def getBuildInformation(): return '  GUI:   NONE'\nimencode, __version__ = None, '5'"
    code, text = mlink(stub, "doctor", "--json")
    (found,) = [each for each in json.loads(text)["findings"] if each["check"] == "OpenCV"]
    assert (code, found["state"], found["remedy"]) == (0, "good", "")
    assert "without windows" in found["found"]
    monkeypatch.setattr("mlink.opencv.draws_windows", lambda: False)
    with pytest.raises(RuntimeError, match="opencv-python-headless"):
        HighguiWindow("title")


def test_no_other_file_imports_it_by_itself():
    """What `mlink.opencv` sets and checks would be passed over."""
    root = Path(__file__).parents[2]
    wrong = [
        str(path.relative_to(root))
        for folder in ("runtime", "drivers", "hil/mlink_hil")
        for path in (root / folder).rglob("*.py")
        if path.name != "opencv.py" and "\nimport cv2" in path.read_text()
    ]
    assert wrong == []
