"""`mlink settings`: the window of a module's own, in its process, and what is kept of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlink

PROGRAM = """
import syntalos_mlink as syl

link = syl.init_link()
link.register_output_port("rows", "Rows", "TableRow")
state = [b"new"]
link.on_load_settings = lambda data, base_dir: state.append(data) or data != b"bad"
link.on_save_settings = lambda base_dir: state[-1]
link.on_start = lambda: print("started")

def show():
    state.append(state[-1] + b" shown")
SHOW
link.await_data_forever(lambda: None)
"""
SCRIPT = """
import syntalos_mlink as syl

def show(settings):
    syl.save_settings(settings + b" shown")
SHOW
def prepare():
    print("prepared")
"""
BENCH = """
[modules.a]
type = "python"
main = "a.py"
settings_file = "a.settings"
[modules.b]
type = "pyscript"
script = "b.py"
[modules.c]
type = "python"
main = "a.py"
[modules.d]
type = "devel.clock"
"""


def settings(
    folder: Path, module: str, *, show: str = "", display: str = "offscreen"
) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    (folder / "a.py").write_text(PROGRAM.replace("SHOW", show or "link.on_show_settings = show"))
    (folder / "b.py").write_text(SCRIPT.replace("SHOW", show or "syl.call_on_show_settings(show)"))
    (folder / "bench.toml").write_text(BENCH)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mlink")), "settings", str(folder), module],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder),
             **({"QT_QPA_PLATFORM": display} if display else {})},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["a", "b"])
def test_what_the_window_saves_is_kept_for_the_next(tmp_path: Path, module: str) -> None:
    path = tmp_path / f"{module}.settings"
    first = "new shown" if module == "a" else " shown"
    code, text = settings(tmp_path, module)
    assert code == 0, text
    assert f"the settings are in {path}" in text
    assert path.read_text() == first
    assert settings(tmp_path, module)[0] == 0
    assert path.read_text() == f"{first} shown"
    assert "prepared" not in text
    assert "started" not in text


@pytest.mark.parametrize(
    ("module", "options", "what"),
    [
        ("a", {"show": "pass"}, "module 'a' has no settings window"),
        ("b", {"show": "pass"}, "module 'b' has no settings window"),
        ("a", {"display": ""}, "there is no display for a window"),
        ("a", {"show": "link.on_show_settings = lambda: 1 / 0"}, "ZeroDivisionError"),
        ("b", {"show": "1 / 0"}, "ZeroDivisionError"),
        ("a", {"show": "import os; os.abort()"}, "the window of 'a' could not be opened"),
        ("c", {}, "module 'c' has no settings of its own"),
        ("d", {}, "module 'd' has no settings of its own"),
        ("e", {}, "there is no module 'e'"),
    ],
)
def test_what_goes_wrong_is_named_and_nothing_is_changed(
    tmp_path: Path, module: str, options: dict[str, str], what: str
) -> None:
    (tmp_path / f"{module}.settings").write_text("mine")
    code, text = settings(tmp_path, module, **options)
    assert code != 0
    assert what in text
    assert "Traceback" not in text
    assert "internal error" not in text
    assert (tmp_path / f"{module}.settings").read_text() == "mine"


def test_settings_that_the_program_refuses_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.settings").write_text("bad")
    code, text = settings(tmp_path, "a")
    assert code != 0
    assert "does not accept these settings" in text


DISPLAY_PROGRAM = """
import syntalos_mlink as syl

link = syl.init_link()
link.on_prepare = lambda: print("prepared")
link.on_start = lambda: print("started")
SHOW
link.await_data_forever(lambda: None)
"""
DISPLAY_SCRIPT = """
import syntalos_mlink as syl

def prepare():
    print("prepared")
def start():
    print("started")
SHOW
"""


@pytest.mark.parametrize(
    ("kind", "show"),
    [
        ("python", 'link.on_show_display = lambda: print("shown")'),
        ("pyscript", 'syl.call_on_show_display(lambda: print("shown"))'),
    ],
)
def test_a_run_shows_the_display_window_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, show: str
) -> None:
    text = DISPLAY_PROGRAM if kind == "python" else DISPLAY_SCRIPT
    main = "main" if kind == "python" else "script"
    (tmp_path / "bench.toml").write_text(
        f'[modules.a]\ntype = "{kind}"\n{main} = "a.py"\nshow_display = true\n'
    )

    def output(program: str) -> str:
        (tmp_path / "a.py").write_text(program)
        with mlink.start(tmp_path, duration_s=0.2, record=False) as run:
            run.wait()
        return " ".join(line.text for line in run.take_log())

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert re.search("prepared.*shown.*started", output(text.replace("SHOW", show)), re.DOTALL)
    assert "it has no display window (on_show_display)" in output(text.replace("SHOW", ""))
    monkeypatch.delenv("QT_QPA_PLATFORM")
    there_is_none = output(text.replace("SHOW", show))
    assert "there is no display" in there_is_none
    assert "shown" not in there_is_none.split("not shown")[1]
