"""Python modules of Syntalos' users: `module.toml` in their folders makes module types."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlink
from mlink import catalog
from mlink.bench import load_bench
from mlink.errors import BenchError
from mlink.modules.script import packages, program_settings
from mlink_hil.syct.folder import import_project
from tests.support.syct import info, project

PROGRAM = """
import json
import syntalos_mlink as syl

link = syl.init_link()
rows = link.register_output_port("rows-out", "Rows", syl.DataType.TableRow)
link.register_input_port(id="in", title="In", data_type="Frame")
state = {"prefix": "none"}

def load(data, base_dir):
    state.update(json.loads(data))
    return True

link.on_load_settings = load
link.on_start = lambda: rows.submit([state["prefix"]])
link.await_data_forever()
"""
SCRIPT = """
import syntalos_mlink as syl

saved = b"none"

def set_settings(data):
    global saved
    saved = data

def start():
    syl.get_output_port("rows-out").submit([saved.decode()])
"""
ABOUT = '[syntalos_module]\ntype = "python"\nname = "Eye"\nmain = "main.py"\n'
PORTS = '[[ports.out]]\nid = "rows-out"\ntitle = "Rows"\ndata_type = "TableRow"\nwidth = 3\n'
BENCH = """
[modules.eye]
type = "NAME"
[modules.table]
type = "table"
inputs = { rows = "eye.rows-out" }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    catalog._installed.cache_clear()
    yield tmp_path
    catalog._installed.cache_clear()


def add(home: Path, name: str, about: str = ABOUT, main: str = PROGRAM, *, where: str = "") -> Path:
    folder = home / (where or "data/Syntalos/modules") / name
    folder.mkdir(parents=True)
    (folder / "module.toml").write_text(about)
    (folder / "main.py").write_text(main)
    catalog._installed.cache_clear()
    return folder


def rows(home: Path, name: str) -> list[list[str]]:
    (home / "bench.toml").write_text(BENCH.replace("NAME", name))
    done = mlink.run(home / "bench.toml", duration_s=0.5, out=home / "out", time="virtual")
    with mlink.open_recording(done.recording_dir) as recording:
        return recording.table("eye").rows


@pytest.mark.parametrize(("about", "main"), [(ABOUT, PROGRAM), (ABOUT + PORTS, SCRIPT)])
def test_a_module_of_either_generation_runs_with_its_settings(
    home: Path, about: str, main: str
) -> None:
    add(home, "eye-2", about, main)
    type_ = catalog.module_type("eye-2")
    assert type_.title == "Eye"
    assert rows(home, "eye-2") == [["none"]]
    (home / "eye.settings").write_bytes(b'{"prefix": "kept"}' if main == PROGRAM else b"kept")
    assert rows(home, "eye-2") == [["kept"]]


def test_they_are_found_in_all_folders_and_the_first_counts(home: Path) -> None:
    sandbox = ".var/app/org.syntalos.syntalos/data/modules"
    add(home, "a", where=sandbox)
    add(home, "b", where=sandbox)
    add(home, "a", ABOUT.replace("Eye", "Ours"), where="data/mlink/modules")
    assert catalog.module_type("a").title == "Ours"
    assert catalog.module_type("b").title == "Eye"


def test_names_and_texts_of_strangers_cannot_control_the_terminal(home: Path) -> None:
    add(
        home, "eye", ABOUT.replace('"Eye"', r'"E\u001b[31mye"') + r'description = "a\u009bb"' + "\n"
    )
    add(home, "a\x1b[2Jb")
    add(home, "bad", ABOUT.replace("main.py", r"\u001b.py"))
    type_ = catalog.module_type("eye")
    shown = f"{type_.title}{type_.summary}{catalog.broken_types()}{list(catalog.module_types())}"
    assert shown.isprintable()
    assert "E [31mye" in shown


def test_ours_keep_their_names(home: Path) -> None:
    add(home, "table")
    assert catalog.module_type("table").title != "Eye"


@pytest.mark.parametrize(
    ("about", "main", "what"),
    [
        (ABOUT.replace('"python"', '"library"'), "", "which only Syntalos can load"),
        (ABOUT.replace("main.py", "../../x.py"), "", "is no file in its folder"),
        (ABOUT.replace("main.py", "/etc/passwd"), "", "is no file in its folder"),
        (ABOUT.replace("main.py", "none.py"), "", "none.py is no file"),
        ("x = [", "", "Invalid value"),
        ("a" + ".a" * 100_000 + " = 1", "", "a key has more than 100 parts"),
        ("\0", "", "module.toml"),
        ("[syntalos_module]\nname = 5\n", "", "str"),
        (ABOUT + PORTS.replace("TableRow", "Tabel"), SCRIPT, "unknown data_type 'Tabel'"),
        (ABOUT, "def (", "invalid syntax"),
        (ABOUT, "x" * (2 << 20), "larger than 1 MB"),
        (ABOUT, "(" * 5000, "module.toml"),
        (ABOUT + "use_venv = true\n", SCRIPT, "of Syntalos 2.x with a virtual environment"),
    ],
)
def test_what_cannot_be_used_is_named_and_harms_no_others(
    home: Path, about: str, main: str, what: str
) -> None:
    add(home, "bad", about, main)
    add(home, "good")
    assert what in catalog.broken_types()["bad"]
    (home / "bench.toml").write_text(BENCH.replace("NAME", "bad"))
    with pytest.raises(BenchError) as caught:
        load_bench(home)
    assert any("Correct it, or remove its folder." in each.remedy for each in caught.value.problems)
    assert catalog.module_type("good")


def test_an_environment_is_asked_for_and_made_anew_when_the_requirements_change(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = add(home, "eye", ABOUT + "use_venv = true\n")
    (folder / "requirements.txt").write_text("six\n")
    (home / "bench.toml").write_text(BENCH.replace("NAME", "eye"))
    with pytest.raises(BenchError, match="install it: mlink modules eye --install"):
        load_bench(home)
    asked: list[list[str]] = []

    class Done:
        returncode, stderr = 0, ""

    def pip(command: list[str], **_: object) -> Done:
        asked.append([str(each) for each in command[4:]])
        return Done()

    with monkeypatch.context() as patched:
        patched.setattr(packages.subprocess, "run", pip)
        patched.setattr(
            packages.venv, "create", lambda path, **_: path.mkdir(parents=True, exist_ok=True)
        )
        made = packages.make_environment("eye")
        assert made == packages.environment("eye")
        assert packages.make_environment("eye") is None
        Done.returncode, Done.stderr = 1, "no network"
        (folder / "requirements.txt").write_text("six\nnumpy\n")
        with pytest.raises(BenchError, match="no network"):
            packages.make_environment("eye")
    assert asked[0] == ["--quiet", "-r", str(folder / "requirements.txt"), *program_settings.NEEDED]
    assert not packages.is_current(folder)
    with pytest.raises(BenchError, match="there is no folder 'eyes'"):
        packages.make_environment("eyes")


def test_a_python_without_our_dependencies_is_refused_with_what_it_lacks(
    home: Path, tmp_path: Path
) -> None:
    packages.venv.create(tmp_path / "bare", with_pip=False)
    (home / "main.py").write_text(PROGRAM)
    text = '[modules.p]\ntype = "python"\nmain = "main.py"\nvenv = "bare"\n'
    (home / "bench.toml").write_text(text)
    with pytest.raises(BenchError, match=r"bare/bin/python lacks .*-m pip install 'msgspec"):
        load_bench(home)
    (home / "bench.toml").write_text(text.replace('venv = "bare"', 'interpreter = "true"'))
    assert load_bench(home)  # what it prints is nothing: it has nothing to complain of
    (home / "bench.toml").write_text(text.replace('venv = "bare"', 'interpreter = "false"'))
    with pytest.raises(BenchError, match="false is no Python 3: it ended with 1"):
        load_bench(home)
    text = text.replace('venv = "bare"', f'interpreter = "{sys.executable}"')
    (home / "bench.toml").write_text(text)
    assert load_bench(home).modules


def test_a_project_takes_an_installed_module_with_its_settings(home: Path) -> None:
    add(home, "eye")
    path = project(home / "p.syct", [("eye", info("eye", "My Eye"), {}, b'{"prefix": "p"}')])
    made = import_project(path, home / "bench")
    assert not load_bench(made.folder).modules["my-eye"].settings.show_display
    assert (made.problems, made.left_out) == ([], [])
    assert load_bench(made.folder).modules["my-eye"].type.id == "eye"
    assert (made.folder / "my-eye.settings").read_bytes() == b'{"prefix": "p"}'


@pytest.mark.parametrize(
    ("geometry", "is_shown"),
    [
        ({"0": {"visible": True, "geometry": "AA"}}, True),
        ({}, False),
        (3, False),
        ({"0": 1}, False),
    ],
)
def test_an_imported_module_whose_display_was_open_shows_it(
    home: Path, geometry: object, is_shown: bool
) -> None:
    add(home, "eye")
    about = info("eye", "Eye", ui_display_geometry=geometry)
    made = import_project(project(home / "p.syct", [("eye", about, {}, b"")]), home / "bench")
    assert load_bench(made.folder).modules["eye"].settings.show_display is is_shown
