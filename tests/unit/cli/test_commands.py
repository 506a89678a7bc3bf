"""The command line: what it prints, and with which exit code it ends. The engine is a fake."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType as PythonModule

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlink import cli
from mlink.cli import app
from mlink.cli.setting_docs import type_text
from mlink.cli.terminal import live
from mlink.cli.terminal.live import LiveView, PlainView, live_table
from mlink.cli.view import _moment_of
from mlink.devices import FoundDevice
from mlink.engine.options import RunOptions
from mlink.engine.status import (
    Failure,
    Phase,
    RunResult,
    RunStatus,
    StreamStatus,
    SubscriptionStatus,
)
from mlink.errors import BenchError, DeviceError, StorageError
from mlink.storage.place import Storage
from tests.support import ROOT

BENCH = """
[bench]
name = "small"
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.events]
type = "table"
inputs = { rows = "loop.out" }
"""


def streams():
    return [
        StreamStatus(
            "loop", "out", "TableRow", 90, 30.0, [SubscriptionStatus("events", "rows", 88, 2, 5, 8)]
        )
    ]


class FakeEngine:
    """Stands for `mlink.engine.run`; keeps what it was called with."""

    def __init__(self):
        self.result = RunResult(True, duration_s=3.0, streams=streams())
        self.error = None
        self.during = lambda observer: None

    def run_bench(self, bench, options, observer):
        self.bench, self.options = bench, options
        self.during(observer)
        if self.error:
            raise self.error
        return self.result


@pytest.fixture
def engine(monkeypatch):
    fake = FakeEngine()
    module = PythonModule("mlink.engine.run")
    module.run_bench = fake.run_bench
    module.RunOptions = RunOptions
    monkeypatch.setitem(sys.modules, "mlink.engine.run", module)
    return fake


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("loop.py").touch()
    path = Path("bench.toml")
    path.write_text(BENCH)
    return path


@pytest.fixture
def mlink(monkeypatch):
    """Call the command line."""
    monkeypatch.setenv("COLUMNS", "120")

    def mlink(*args):
        return CliRunner().invoke(app, [str(arg) for arg in args])

    return mlink


# --- run ----------------------------------------------------------------------------------------


def test_a_run_that_ended_as_asked_exits_with_0_and_prints_what_to_do_next(mlink, bench, engine):
    engine.result.recording_dir = Path.cwd() / "recordings" / "my run"
    result = mlink("run", bench)
    assert result.exit_code == 0
    assert "The run completed after 3.0 s" in result.stdout
    assert "mlink info 'recordings/my run'" in result.stdout


def test_a_failed_run_exits_with_1_and_prints_module_what_where_and_remedy(mlink, bench, engine):
    failure = Failure("loop", "run", "loop.py:3: division by zero", "Look at line 3.", "Traceback…")
    engine.result = RunResult(False, failures=[failure])
    result = mlink("run", bench)
    assert result.exit_code == 1
    assert "The run failed" in result.stdout
    assert "loop (run): loop.py:3: division by zero" in result.stdout
    assert "→ Look at line 3." in result.stdout
    assert "Traceback…" not in result.stdout
    assert "Traceback…" in mlink("run", bench, "--debug").stdout


def test_a_wrong_bench_exits_with_2_and_starts_nothing(mlink, bench, engine):
    bench.write_text(BENCH.replace("loop.out", "loop.outt"))
    result = mlink("run", bench)
    assert result.exit_code == 2
    assert "Did you mean 'out'?" in result.stderr
    assert result.stdout == ""
    assert not hasattr(engine, "bench")


def test_an_engine_that_refuses_the_bench_exits_with_2(mlink, bench, engine):
    engine.error = BenchError("no", remedy="Do better.")
    result = mlink("run", bench)
    assert result.exit_code == 2
    assert "error: no\n  → Do better." in result.stderr


def test_a_run_without_a_place_for_its_recording_is_a_failed_run(mlink, bench, engine):
    engine.error = StorageError("the disk is full", remedy="Make room.")
    result = mlink("run", bench)
    assert result.exit_code == 1
    assert "the disk is full" in result.stdout
    assert "Make room." in result.stdout


def test_a_fault_of_ours_is_one_line_unless_debugging(mlink, bench, engine):
    engine.error = RuntimeError("oops")
    result = mlink("run", bench)
    assert result.exit_code == 1
    assert "internal error: RuntimeError: oops" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in mlink("--debug", "run", bench).stderr


def test_ctrl_c_before_the_run_is_reported_without_a_traceback(mlink, bench, engine):
    engine.error = KeyboardInterrupt()
    result = mlink("run", bench)
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_options_reach_the_engine(mlink, bench, engine):
    arguments = ["--for", "2.5", "--out", "there", "--name", "n", "--no-record", "--debug"]
    arguments += ["--subject", "mouse"]
    assert mlink("run", bench, *arguments).exit_code == 0
    asked = RunOptions(2.5, Path("there"), "n", False, True, subject="mouse", encode=False)
    assert engine.options == replace(asked, storage=Storage())  # that of the bench


def test_a_run_lasts_until_it_is_stopped_and_is_recorded_by_default(mlink, bench, engine):
    mlink("run", bench)
    # The command encodes, with bars; the storage is that of the bench.
    assert engine.options == RunOptions(encode=False, storage=Storage())


def test_settings_and_devices_can_be_replaced(mlink, bench, engine):
    Path("lab.toml").write_text('[devices]\nuno = "/dev/ttyACM7"\n')
    result = mlink("run", bench, "--set", "events.data_name=x", "--devices", "lab.toml")
    assert result.exit_code == 0
    assert engine.bench.modules["events"].settings.data_name == "x"
    assert engine.bench.devices == {"uno": "/dev/ttyACM7"}


@pytest.mark.parametrize(
    "seconds", ["", "0", "-1", "-1s", "nan", "inf", "soon", "5 weeks", "1e3", "999d"]
)
def test_a_length_that_is_none_is_refused(mlink, bench, engine, seconds):
    result = mlink("run", bench, "--for", seconds)
    assert result.exit_code == 2
    assert "--for" in result.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2),
        ("5s", 5),
        ("500ms", 0.5),
        ("2m", 120),
        ("2min", 120),
        ("1.5h", 5400),
        ("1 d", 86400),
    ],
)
def test_a_length_has_a_unit_or_is_in_seconds(mlink, bench, engine, text, seconds):
    assert mlink("run", bench, "--for", text).exit_code == 0
    assert engine.options.duration_s == seconds


def test_a_bench_that_is_wrong_is_json_too(mlink, engine):
    result = mlink("run", "nope.toml", "--json")
    assert result.exit_code == 2
    (failure,) = json.loads(result.stdout)["failures"]
    assert failure["phase"] == "check"
    assert "no file nope.toml" in failure["message"]


def test_run_takes_the_bench_of_this_folder_or_the_one_beside_a_script(mlink, bench, engine):
    Path("loop.py").write_text("")
    Path("other.py").write_text("")
    bench.rename("bench.toml")
    assert mlink("run").exit_code == 0
    assert mlink("run", "loop.py").exit_code == 0
    assert engine.bench.path.name == "bench.toml"
    refused = mlink("run", "other.py")
    assert refused.exit_code == 2
    assert "no bench.toml beside it names it" in refused.stderr


@pytest.mark.parametrize("arguments", [["run"], ["fly"], ["run", "x.toml", "--fly"], []])
def test_a_wrong_call_exits_with_2(mlink, arguments):
    assert mlink(*arguments).exit_code == 2


def test_json_is_all_that_goes_to_stdout(mlink, bench, engine):
    def during(observer):
        observer.on_status(RunStatus(Phase.RUN, 1.0, streams()))
        observer.on_log("events", logging.WARNING, "beware")
        observer.on_output("loop", "hello")

    engine.during = during
    engine.result.recording_dir = Path("recordings/r")
    result = mlink("run", bench, "--json")
    printed = json.loads(result.stdout)
    assert printed["success"] is True
    assert printed["recording_dir"] == "recordings/r"
    assert printed["streams"][0]["subscriptions"][0]["lost"] == 2
    assert "events │ warning: beware" in result.stderr
    assert "loop │ hello" in result.stderr


# --- what is shown while a run lasts ------------------------------------------------------------


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def test_without_a_terminal_a_line_is_printed_at_changes_and_every_ten_seconds(monkeypatch):
    now = 100.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=200)
    view = PlainView(console, 30.0)
    lost = streams()
    lost[0].subscriptions[0].lost = 3
    for step in range(4 * 24):  # 24 seconds, four snapshots each
        now += 0.25
        phase = Phase.PREPARE if step < 8 else Phase.RUN
        view.on_status(RunStatus(phase, now - 100.0, streams() if now < 115 else lost))
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert lines == [
        "1.0/30 s  preparing  loop.out 90 (30.0/s)  lost 2  queued 5",
        "2.2/30 s  running  loop.out 90 (30.0/s)  lost 2  queued 5",
        "12.2/30 s  running  loop.out 90 (30.0/s)  lost 2  queued 5",
        "15.0/30 s  running  loop.out 90 (30.0/s)  lost 3  queued 5",
    ]


def test_losses_have_a_sentence_in_the_summary(mlink, bench, engine):
    assert "  Lost: 2 of 90 from loop.out to events.\n" in mlink("run", bench).stdout
    (stream,) = engine.result.streams = streams()
    stream.subscriptions[0].lost = 0
    assert "  No item was lost.\n" in mlink("run", bench).stdout
    stream.subscriptions[0].not_taken = 5
    assert "  Lost: 5 of 90 from loop.out to events.\n" in mlink("run", bench).stdout
    stream.subscriptions.clear()
    stream.lost_at_source = 1
    assert "  Lost: 1 of 90 at loop.out.\n" in mlink("run", bench).stdout
    engine.result.streams = [StreamStatus("cam", "video", "Frame", 301, 29.97, [])]
    assert "  No item was lost. cam.video: 301 frames.\n" in mlink("run", bench).stdout
    engine.result.reports = {"cam": {"framerate_measured": 29.97}}
    assert "cam.video: 301 frames at 30.0 Hz.\n" in mlink("run", bench).stdout


def test_the_live_table_shows_rate_totals_losses_and_queue(screen):
    status = RunStatus(Phase.RUN, 1.0, streams(), {"loop": "all is well"})
    screen.print(live_table(status, "small", None))
    text = screen.file.getvalue()
    for shown in ("small", "running", "1.0 s", "30.0/s", "90", "events.rows", "88", "2", "5/8"):
        assert shown in text
    assert "loop: all is well" in text


def test_the_live_view_prints_logs_above_its_table_and_leaves_the_screen_in_order(screen):
    with LiveView(screen, "small", None) as view:
        view.on_status(RunStatus(Phase.RUN, 1.0, streams()))
        view.on_log("loop", logging.ERROR, "first\nsecond")
        view.on_status(RunStatus(Phase.RUN, 2.0, streams()))
    text = screen.file.getvalue()
    assert "loop │ error: first" in text
    assert "loop │ second" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"


def test_what_a_script_prints_cannot_control_the_terminal(screen):
    view = PlainView(screen, None)
    view.on_output("loop", "\x1b[2J[red]plain[/]")
    assert screen.file.getvalue() == "loop │ [red]plain[/]\n"


def test_the_summary_shows_figures_with_their_units(mlink, bench, engine):
    engine.result.reports = {"finger": {"edges": 98.0, "latency_p50_ms": 1.4532, "board": "an Uno"}}
    engine.result.stop_reason = "10 s are over"
    shown = mlink("run", bench, "--verbose").stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "finger edges 98" in lines
    assert "latency p50 1.453 ms" in lines
    assert "board an Uno" in lines
    assert "✔ The run completed after 3.0 s (10 s are over)" in lines


def test_the_summary_begins_with_the_sentences_of_modules_and_leaves_figures_to_verbose(
    mlink, bench, engine
):
    engine.result.streams = streams()
    engine.result.sentences = ["finger: 98 of 98 edges answered"]
    engine.result.reports = {"finger": {"edges_answered": 98.0}}
    lines = mlink("run", bench).stdout.splitlines()
    sentence = lines.index("  finger: 98 of 98 edges answered.")
    assert sentence < next(n for n, line in enumerate(lines) if line.startswith("  stream "))
    assert "  All figures of the modules: --verbose" in lines
    assert not any("edges answered  " in line for line in lines)
    engine.result.success = False
    assert any("edges answered  " in line for line in mlink("run", bench).stdout.splitlines())


def test_the_summary_shows_hints(mlink, bench, engine):
    engine.result.hints = ["loop: run() returned after 0.00 s"]
    assert "  Hint: loop: run() returned after 0.00 s\n" in mlink("run", bench).stdout


# --- check, modules, devices --------------------------------------------------------------------


def test_check_shows_modules_and_streams(mlink, bench):
    result = mlink("check", bench)
    assert result.exit_code == 0
    assert "small: 2 modules, 1 connected stream\n" in result.stdout
    assert "rows ← loop.out" in result.stdout


def test_check_of_a_wrong_bench_exits_with_2(mlink, bench):
    result = mlink("check", bench, "--set", "events.data_nam=x")
    assert result.exit_code == 2
    assert "Did you mean 'data_name'?" in result.stderr


def test_check_warns_of_devices_that_are_missing_or_used_twice(mlink, bench):
    cameras = "".join(
        f'[modules.{name}]\ntype = "camera-generic"\ndevice = "{device}"\n'
        for name, device in (("a", "/dev/null"), ("b", "/dev/video98"), ("c", "/dev/video98"))
    )
    bench.write_text(BENCH + cameras)
    result = mlink("check", bench)
    assert result.exit_code == 0
    assert "● b: there is no /dev/video98 now" in result.stdout
    assert "● b and c use the same device, /dev/video98" in result.stdout
    assert result.stdout.count("●") == 2


def test_check_prints_json(mlink, bench):
    bench.write_text(BENCH + '[modules.b]\ntype = "camera-generic"\ndevice = "/dev/video98"\n')
    good = mlink("check", bench, "--json")
    assert good.exit_code == 0
    assert json.loads(good.stdout) == {
        "problems": [],
        "warnings": ["b: there is no /dev/video98 now (mlink devices lists them)"],
        "unrecorded": ["b.video", "b.changes"],
    }
    wrong = mlink("check", bench, "--set", "events.data_nam=x", "--set", "b.size=3", "--json")
    assert wrong.exit_code == 2
    assert [each["where"] for each in json.loads(wrong.stdout)["problems"]] == [
        "--set events.data_nam",
        "--set b.size",
    ]
    assert json.loads(mlink("check", "nope", "--json").stdout)["problems"][0]["where"] == ""


def test_the_demo_bench_is_as_the_readme_describes(mlink):
    folder = ROOT / "hil" / "benches" / "led-follows-button"
    result = mlink("check", folder)
    assert result.exit_code == 0, result.stderr
    assert "frames-in ← cam.video" in result.stdout


def test_modules_shows_ports_and_settings_with_defaults(mlink):
    output = mlink("modules").stdout
    assert "videorecorder  Video Recorder" in output
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "in frames-in Frame" in lines
    assert any(line.startswith('setting video_codec = "ffvhuff" "ffvhuff" |') for line in lines)
    assert "setting script required str" in lines


def test_modules_can_show_one_type_and_as_json(mlink):
    printed = json.loads(mlink("modules", "table", "--json").stdout)
    assert [type_["id"] for type_ in printed["types"]] == ["table"]
    assert printed["types"][0]["inputs"][0]["data_type"] == "TableRow"


def test_modules_of_an_unknown_type_exits_with_2(mlink):
    result = mlink("modules", "tabel")
    assert result.exit_code == 2
    assert "Did you mean 'table'?" in result.stderr


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | None, "int"),
        (list[str], "[str, …]"),
        (tuple[int, int], "[int, int]"),
        (tuple[int, ...], "[int, …]"),
        (dict[str, int], "table"),
    ],
)
def test_types_are_shown_as_toml_knows_them(annotation, text):
    assert type_text(annotation) == text


FOUND = FoundDevice(
    kind="serial",
    address="/dev/ttyACM0",
    name="Arduino Uno",
    identity=["usb:2341:0043"],
    problem="no access",
    remedy="join the group",
)


class Provider:
    known = ("virtual:uno",)


def broken():
    raise DeviceError("udev is not there", remedy="Start it.")


@pytest.fixture
def machine(monkeypatch):
    """Make up what this machine has."""
    monkeypatch.setattr(
        "mlink.catalog.discoverers", lambda: {"broken": broken, "made-up": lambda: [FOUND]}
    )
    monkeypatch.setattr("mlink.catalog.device_schemes", lambda: ["virtual"])
    monkeypatch.setattr("mlink.catalog.device_provider", lambda scheme: Provider())


def test_devices_lists_what_exists_and_what_is_virtual(mlink, machine):
    result = mlink("devices")
    assert result.exit_code == 0
    for shown in ("/dev/ttyACM0", "Arduino Uno", "usb:2341:0043", "no access", "→ join the group"):
        assert shown in result.stdout
    assert "virtual:uno" in result.stdout


def test_a_discoverer_that_fails_does_not_hide_the_others(mlink, machine):
    printed = json.loads(mlink("devices", "--json").stdout)
    assert [device["address"] for device in printed["devices"]] == ["/dev/ttyACM0", "virtual:uno"]
    assert printed["problems"] == ["udev is not there\n  → Start it."]


# --- the program --------------------------------------------------------------------------------


def test_help_is_there_without_loading_what_only_runs_need():
    heavy = ("cv2", "av", "pyudev", "serial", "mlink.engine.run")
    code = (
        "import sys\nfrom mlink.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print('heavy:', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    for command in ("run", "check", "modules", "devices", "info"):
        assert f"\n  {command} " in done.stdout


def test_a_broken_command_of_another_package_harms_no_other(monkeypatch):
    entries = EntryPoints(
        [EntryPoint("flash", "no_such_package:flash", cli.COMMANDS_GROUP),
         EntryPoint("own", "mlink.cli.recorded.list:list_recordings", cli.COMMANDS_GROUP)]
    )  # fmt: skip
    monkeypatch.setattr(cli, "entry_points", entries.select)
    monkeypatch.setattr(cli, "_commands", cli._Commands)
    warning = "warning: 'mlink flash' cannot be loaded: No module named 'no_such_package'"
    assert "List the recordings" in CliRunner().invoke(app, ["own", "--help"]).output
    listed = CliRunner().invoke(app, ["--help"])
    assert (listed.exit_code, listed.output.count(warning)) == (0, 1)
    assert "\n  own " in listed.output
    assert "\n  flash " not in listed.output
    wrong = CliRunner().invoke(app, ["flash"])
    assert wrong.exit_code == 2
    assert warning in wrong.output


def test_nobody_listening_any_more_is_no_error():
    code = "import sys; from mlink.cli import main; sys.argv = ['mlink', 'modules']; main()"
    command = f"{sys.executable} -c {json.dumps(code)} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_signals_after_the_result_do_not_change_the_exit_code() -> None:
    program = (
        "import os; from mlink import ctrl_c as c; c.end_on_signals(); c.raise_on_signals()\n"
        "c.ignore_signals()\n"
        "for number in c.ENDING: os.kill(os.getpid(), number)\n"
        "print('ended by itself')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended by itself\n", "")


@pytest.mark.parametrize(
    ("given", "path", "moment"),
    [
        ("rec#t=1500000", "rec", "#t=1500000"),
        ("rec#t=-20", "rec", "#t=-20"),
        ("is#t=5", "is#t=5", ""),  # a folder of this name
        ("rec#t=<x>", "rec#t=<x>", ""),
        ("rec#t=", "rec#t=", ""),
        ("rec", "rec", ""),
    ],
)
def test_a_recording_may_be_named_with_a_moment(tmp_path, monkeypatch, given, path, moment):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "is#t=5").mkdir()
    assert _moment_of(Path(given)) == (Path(path), moment)
