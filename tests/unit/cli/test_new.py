"""`mlink new KIND NAME`: starting points that run as they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.api.start import run
from mlink.bench import load_bench
from mlink.catalog import example_benches
from mlink.cli import app
from mlink.cli.check import examine
from mlink.cli.new import Service, new
from mlink.devices import FoundDevice
from mlink.errors import BenchError
from mlink.testing import ScriptRunner
from syntalos_mlink import LineReading
from tests.support import ROOT
from tests.support.bench_runner import BenchRunner
from tests.support.hil_examples import run_pytest


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["first", "My-Script_2"])
def test_makes_a_bench_that_is_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    new("script", name)
    assert f"mlink run {name} --for 2" in capsys.readouterr().out
    assert load_bench(Path(name)).name == name
    assert sorted(path.name for path in Path(name).iterdir()) == sorted(
        ["bench.schema.json", "bench.toml", f"{name}.py"]
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


@pytest.mark.parametrize("command", ["new", "examples"])
def test_without_a_kind_all_of_them_are_listed(command: str) -> None:
    done = CliRunner().invoke(app, [command])
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
    assert Path("mine/bench.toml").read_text().startswith("#:schema bench.schema.json\n")
    for gone in ("hil/benches", ".venv/", "(../", f'"{kind}"', "make demo"):
        assert not [text for text in texts if gone in text]


def test_an_example_does_not_overwrite_a_file_below_its_folder() -> None:
    Path("mine/firmware").mkdir(parents=True)
    Path("mine/firmware/lamp.c").write_text("mine")
    with pytest.raises(BenchError, match=r"mine/firmware/lamp\.c exists already"):
        new("dut-firmware", "mine")
    assert [path for path in Path("mine").rglob("*") if path.is_file()] == [
        Path("mine/firmware/lamp.c")
    ]


def announce(folder: Path, site: Path) -> None:
    """Make a package's entry points known as pip does, without its files."""
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    info = site / f"{folder.name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {folder.name}\nVersion: 0.1.0\n")
    lines = [
        f"[{group}]\n{name} = {place}\n"
        for group, each in points.items()
        for name, place in each.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))


def mlink(*words: str, folder: Path, site: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlink", *words],
        env={**os.environ, "PYTHONPATH": f"{site}:{folder.absolute()}"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_module_of_ones_own_is_found_and_writes_rows(tmp_path: Path) -> None:
    new("module", "Bright-Ness")
    folder, site = Path("Bright-Ness"), tmp_path / "site"
    announce(folder, site)
    mlink("run", str(folder), "--for", "1", "--time", "virtual", folder=folder, site=site)
    (table,) = (tmp_path / "recordings").rglob("*.csv")
    rows = table.read_text().splitlines()
    assert rows[0].split(";")[-1] == "brightness"
    assert [row.split(";")[-2] for row in rows[1:4]] == ["0", "5", "10"]


def test_a_camera_backend_of_ones_own_is_found_and_keeps_the_contract(tmp_path: Path) -> None:
    new("camera", "mycam")
    folder, site = Path("mycam"), tmp_path / "site"
    announce(folder, site)
    assert "mycam:1" in mlink("check", str(folder), folder=folder, site=site)
    outcome = run_pytest(folder.absolute())
    assert outcome.code == 0, outcome.text
    assert outcome.counts["passed"] > 5


def test_the_tests_of_a_new_device_pass(tmp_path: Path) -> None:
    new("test", "blink")
    folder = Path("blink").absolute()
    bench = folder / "bench.toml"  # the quicker simulator
    bench.write_text(bench.read_text().replace('"virtual:uno"', '"virtual:uno?simulator=protocol"'))
    outcome = run_pytest(folder)
    assert (outcome.code, outcome.counts["passed"]) == (0, 2), outcome.text


@pytest.mark.parametrize(
    ("service", "place"),
    [("github", ".github/workflows/blink.yml"), ("gitlab", ".gitlab-ci.yml")],
)
def test_a_workflow_runs_the_tests_from_the_top_of_the_repository(
    service: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "benches").mkdir()
    monkeypatch.chdir(tmp_path / "benches")
    done = CliRunner().invoke(app, ["new", "test", "blink", "--ci", service])
    assert done.exit_code == 0, done.output
    assert f"created ../{place}" in done.stdout
    text = (tmp_path / place).read_text()
    assert "@" not in text.replace("actions/checkout@v4", "").replace("@v5", "").replace("@v4", "")
    (command,) = re.findall(r"pytest benches/blink .*", text)
    words = shlex.split(command)
    known = (ROOT / "hil/mlink_hil/plugin.py").read_text()
    assert [w for w in words if w.startswith("--mlink") and f'"{w}"' not in known] == []
    done = CliRunner().invoke(app, ["new", "test", "other", "--ci", "gitlab"])
    assert (done.exit_code == 0) == (
        service == "github"
    )  # one file for all: nothing is overwritten


def test_units_of_systemd_run_the_tests_at_night(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["new", "test", "blink", "--ci", "systemd"])
    assert done.exit_code == 0, done.output
    service = Path("blink/blink-night.service").read_text()
    timer = Path("blink/blink-night.timer").read_text()
    assert "@" not in service + timer
    assert f"WorkingDirectory={Path('blink').absolute()}\n" in service
    options = re.findall(r"--mlink-[a-z]+", service)
    known = (ROOT / "hil/mlink_hil/plugin.py").read_text()
    assert options == [each for each in options if f'"{each}"' in known] != []
    if shutil.which("systemd-analyze"):
        units = [str(Path(f"blink/blink-night.{kind}").absolute()) for kind in ("service", "timer")]
        command = ["systemd-analyze", "verify", "--man=no", *units]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "blink-night" not in checked.stderr, checked.stderr


def test_kinds_are_completed_in_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = {"_MLINK_COMPLETE": "complete_bash", "COMP_WORDS": "mlink new c", "COMP_CWORD": "2"}
    done = CliRunner().invoke(app, [], prog_name="mlink", env=typed)
    assert done.stdout.split() == ["camera", "camera-sees-light"]


@pytest.mark.parametrize("kind", ["script", "module", "camera"])
def test_a_workflow_needs_tests_of_a_bench(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--ci runs the tests of a bench"):
        new(kind, "first", Service.GITHUB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["recorder", "film"])
def test_a_bench_without_a_script_records_all_its_streams(kind: str, tmp_path: Path) -> None:
    new(kind, "mine")
    found = examine(Path("mine"))
    assert not found.problems
    assert not found.unrecorded
    assert not [line for line, warns in found.lines if warns]
    result = run(Path("mine"), duration_s=1, time="virtual", out=tmp_path / "rec")
    assert {stream.name for stream in result.streams if stream.sent} >= {"cam.video"}
    assert list((tmp_path / "rec").rglob("*.mkv"))


@pytest.mark.parametrize(
    ("like", "made"), [("", "loop.py"), ("script", "mine.py"), ("test", "test_mine.py")]
)
def test_a_bench_is_like_the_one_that_is_asked_for(like: str, made: str) -> None:
    new("bench", "mine", like=like)
    assert (Path("mine") / made).is_file()


def test_a_bench_like_none_of_them_is_refused_with_a_proposal() -> None:
    with pytest.raises(BenchError, match="there is no bench 'recoder'") as caught:
        new("bench", "mine", like="recoder")
    assert "recorder" in caught.value.remedy
    with pytest.raises(BenchError, match="--like belongs to bench"):
        new("script", "mine", like="loop")


def test_devices_that_are_plugged_in_are_proposed_as_comments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = FoundDevice(
        kind="serial", address="/dev/ttyACM0", name="Arduino\nUno", identity=["usb:serial=75"]
    )
    camera = FoundDevice(kind="camera", address="/dev/video0", name="Webcam", identity=["usb:c"])
    monkeypatch.setattr("mlink.api.devices.list_devices", lambda: [board, camera])
    new("bench", "mine")
    text = Path("mine/bench.toml").read_text()
    assert '\n# uno = "usb:serial=75"   # plugged in: Arduino Uno, /dev/ttyACM0\n' in text
    assert '\n# eye = "usb:c"   # plugged in: Webcam, /dev/video0\n\n[virtual.button]' in text
    assert load_bench(Path("mine")).device_spec("uno") == "virtual:uno"
    new("film", "other")
    assert "Arduino" not in Path("other/bench.toml").read_text()
