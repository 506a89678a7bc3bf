"""`mlink new script NAME`: a starting point that runs as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.bench import load_bench
from mlink.catalog import example_benches
from mlink.cli import app
from mlink.cli.new import new
from mlink.errors import BenchError
from mlink.testing import ScriptRunner
from syntalos_mlink import LineReading
from tests.support.bench_runner import BenchRunner


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["first", "My-Script_2"])
def test_makes_a_bench_that_is_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    new("script", name)
    assert f"mlink run {name} --for 2" in capsys.readouterr().out
    assert load_bench(Path(name)).name == name
    assert sorted(path.name for path in Path(name).iterdir()) == sorted(
        ["bench.toml", f"{name}.py"]
    )


def test_the_bench_runs_without_hardware(tmp_path: Path) -> None:
    new("script", "first")
    result = BenchRunner(tmp_path / "first").run(1.2)
    assert result.success
    (table,) = (tmp_path / "first/rec").rglob("*.csv")
    assert len(table.read_text().splitlines()) == 1 + 3


def test_the_script_does_what_it_describes() -> None:
    new("script", "first")
    with ScriptRunner.from_bench("first") as runner:
        runner.start()
        runner.run_for(1_000_000)
        assert [row[0] for row in runner.take("rows")] == ["0", "500000", "1000000"]
        runner.take("commands")
        runner.feed("readings", LineReading(7, 0, 1_000_000))
        assert [command.value for command in runner.take("commands")] == [1]
        assert runner.take("rows") == [["1000000", "button", "1"]]


@pytest.mark.parametrize("existing", ["first", "first/bench.toml", "first/first.py"])
def test_nothing_is_overwritten(existing: str) -> None:
    path = Path(existing)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(BenchError, match="exists already"):
        new("script", "first")
    assert path.read_text() == "mine"
    assert list(Path().rglob("*.toml")) == [path] * (path.suffix == ".toml")


def test_folder_that_is_there_may_be_used() -> None:
    Path("first").mkdir()
    Path("first/notes.txt").write_text("mine")
    new("script", "first")
    assert Path("first/first.py").is_file()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "-x", "9a", "a b", "ä", "a.py", "x" * 51, "a\nb", "a\0"]
)
def test_unsafe_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be the name"):
        new("script", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["random", "numpy", "mlink", "syntalos_mlink"])
def test_names_that_would_hide_a_module_are_refused(name: str) -> None:
    with pytest.raises(BenchError, match="would hide"):
        new("script", name)


def test_other_kinds_propose_what_there_is() -> None:
    with pytest.raises(BenchError, match="Did you mean 'script'"):
        new("scirpt", "first")


def test_without_a_kind_all_of_them_are_listed() -> None:
    done = CliRunner().invoke(app, ["new"])
    assert done.exit_code == 0
    assert "A closed loop: a button is pressed" in " ".join(done.stdout.split())
    assert {line.split()[0] for line in done.stdout.splitlines()} >= {"script", *example_benches()}


@pytest.mark.parametrize("kind", example_benches())
def test_an_example_bench_is_copied_with_the_new_name(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new(kind, "mine")
    assert capsys.readouterr().out.endswith("test it with: pytest mine\n")
    bench = load_bench(Path("mine"))
    assert bench.name == "mine"
    assert any(device.startswith("virtual:") for device in bench.devices.values())
    texts = [path.read_text() for path in Path("mine").rglob("*") if path.is_file()]
    for gone in ("hil/benches", ".venv/", "(../", f'"{kind}"'):
        assert not [text for text in texts if gone in text]


def test_an_example_does_not_overwrite_a_file_below_its_folder() -> None:
    Path("mine/firmware").mkdir(parents=True)
    Path("mine/firmware/lamp.c").write_text("mine")
    with pytest.raises(BenchError, match=r"mine/firmware/lamp\.c exists already"):
        new("dut-firmware", "mine")
    assert [path for path in Path("mine").rglob("*") if path.is_file()] == [
        Path("mine/firmware/lamp.c")
    ]
