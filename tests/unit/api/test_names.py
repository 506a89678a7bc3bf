"""What `import mlink` gives, and what it costs; benches and devices from Python."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from pathlib import Path

import pytest

import mlink
import mlink.catalog
from mlink.api import watcher
from mlink.api.watcher import Watcher
from mlink.engine.status import Phase, RunStatus, StreamStatus

BENCH = """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.rows]
type = "table"
inputs = { rows = "loop.out" }
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "loop.py").touch()
    path = tmp_path / "bench.toml"
    path.write_text(BENCH)
    return path


class TestNames:
    def test_every_name_is_there(self) -> None:
        assert mlink.__all__ == sorted(mlink.__all__)
        assert set(mlink.__all__) <= set(dir(mlink))
        for name in mlink.__all__:
            assert getattr(mlink, name) is getattr(mlink, name)
        assert mlink.open_recording is mlink.recording.open
        with pytest.raises(AttributeError, match="module 'mlink' has no attribute 'rum'"):
            _ = mlink.rum

    def test_type_checkers_see_the_same(self) -> None:
        tree = ast.parse(Path(mlink.__file__).read_text())
        imported = {
            alias.asname or alias.name: node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module.startswith("mlink.")
            for alias in node.names
        }
        assert set(imported) == set(mlink.__all__) - {"__version__"}
        homes = {name: module for module, names in mlink._HOMES.items() for name in names}
        assert homes == {name: at for name, at in imported.items() if name != "open_recording"}

    def test_import_alone_imports_nothing_else(self) -> None:
        code = (
            "import sys; before = set(sys.modules); import mlink; "
            "print(*(set(sys.modules) - before))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == ["mlink"]


class TestBench:
    def test_loaded(self, bench: Path) -> None:
        for path in (bench, str(bench), bench.parent):
            assert list(mlink.load_bench(path).modules) == ["loop", "rows"]

    def test_settings_are_values(self, bench: Path) -> None:
        (bench.parent / "other.py").touch()
        found = mlink.load_bench(
            bench,
            set={
                "loop.script": Path("other.py"),
                "rows.save_data": False,
                "rows.inputs": {"rows": {"from": "loop.out", "queue": 7}},
            },
        )
        assert found.modules["loop"].settings.script == "other.py"
        assert found.modules["rows"].settings.save_data is False
        assert found.modules["rows"].connections[0].queue == 7

    def test_devices_file(self, bench: Path, tmp_path: Path) -> None:
        lab = tmp_path / "lab.toml"
        lab.write_text('[devices]\nuno = "virtual:uno"\n[modules.rows]\nsave_data = false\n')
        found = mlink.load_bench(bench, devices=str(lab))
        assert found.devices == {"uno": "virtual:uno"}
        assert found.modules["rows"].settings.save_data is False

    @pytest.mark.parametrize(
        ("target", "value", "match"),
        [
            ("loop", 1, "not of the form module.key=value"),
            ("loop.", 1, "not of the form module.key=value"),
            (3, 1, "a setting is named by a text like 'cam.size', not 3"),
            ("rows.data_name", object(), "the value of 'rows.data_name' cannot be a setting"),
            ("rows.data_name", 1 << 70, "does not fit into 64 bits"),
            ("roows.data_name", "x", "there is no module 'roows'"),
            ("rows.data_name", 5, "data_name"),
        ],
    )
    def test_settings_that_do_not_fit(
        self, bench: Path, target: str, value: object, match: str
    ) -> None:
        with pytest.raises(mlink.BenchError, match=match):
            mlink.load_bench(bench, set={target: value})

    def test_problems_one_by_one(self, bench: Path) -> None:
        assert mlink.check_bench(bench) == []
        bench.write_text(BENCH.replace("loop.out", "loop.outt") + "colour = 1\n")
        problems = mlink.check_bench(bench)
        assert [problem.where for problem in problems] == [
            "[modules.rows] colour",
            "[modules.rows] inputs.rows",
        ]
        assert problems[1].remedy == "Did you mean 'out'?"
        with pytest.raises(mlink.BenchError) as caught:
            mlink.load_bench(bench)
        assert list(caught.value.problems) == problems

    def test_what_is_no_bench_is_a_problem_too(self, tmp_path: Path) -> None:
        (problem,) = mlink.check_bench(tmp_path / "none.toml")
        assert "there is no file" in problem.what
        (tmp_path / "bench.toml").write_text("modules = [")
        (problem,) = mlink.check_bench(tmp_path)
        assert "is not valid TOML" in problem.what
        (problem,) = mlink.check_bench(tmp_path, set={"a.b": object})
        assert problem.what


class TestDevices:
    def test_one_that_fails_does_not_hide_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        board = mlink.FoundDevice(kind="serial", address="/dev/ttyACM0", name="Uno")

        def broken() -> list[mlink.FoundDevice]:
            raise RuntimeError("no bus")

        monkeypatch.setattr(
            mlink.catalog, "discoverers", lambda: {"broken": broken, "good": lambda: [board]}
        )
        found = mlink.list_devices()
        assert board in found
        assert "virtual:uno" in [device.address for device in found]
        assert found.problems == ["'broken' could not look for devices: no bus"]


class TestWatcher:
    def test_a_log_that_is_not_taken_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watcher, "_MOST_LINES", 3)
        log = Watcher()
        for number in range(5):
            log.on_output("loop", f"{number}\n")
        first, *rest = log.take_log()
        assert first.level == logging.WARNING
        assert first.text.startswith("2 lines before")
        assert [line.text for line in rest] == ["2", "3", "4"]
        assert log.take_log() == []

    def test_a_snapshot_is_not_the_engines(self) -> None:
        kept = Watcher()
        engine = RunStatus(Phase.START)
        kept.on_status(engine)
        snapshot = kept.status
        engine.phase, engine.streams = Phase.RUN, [StreamStatus("a", "b", "TableRow")]
        assert (snapshot.phase, snapshot.streams) == (Phase.START, [])
        assert not kept.has_run
        kept.on_status(engine)
        assert kept.has_run
