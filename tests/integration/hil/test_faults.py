"""Faults of a bench file at master times, and of a test: made, seen, mended, recorded."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink import recording
from mlink.bench import load_bench
from mlink.cli import app
from mlink.engine.options import RunOptions
from mlink.errors import BenchError
from mlink_hil.faults.slow_writes import SlowWrites
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.handles.faults import Faults
from tests.support.hil_examples import Outcome, copy_example, run_pytest

pytestmark = pytest.mark.sim

PROTOCOL = ("bench.toml", '"virtual:uno"', '"virtual:uno?simulator=protocol"')

FAULTS = """
[[faults]]
at_sec = 0.3
for_sec = 0.5
kind = "stall"
target = "cam"

[[faults]]
at_sec = 1.0
for_sec = 0.4
kind = "line-noise"
target = "uno"
drop = 1.0
direction = "from-board"

[[faults]]
at_sec = 1.6
kind = "freeze-picture"
target = "eye"
"""


def bench_with(tmp_path: Path, faults: str) -> Path:
    folder = copy_example(tmp_path, "led-follows-button", *PROTOCOL)
    path = folder / "bench.toml"
    path.write_text(path.read_text() + faults)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with (path / "faults" / "faults.csv").open() as file:
        return list(csv.DictReader(file, delimiter=";"))


# in the bench file ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of a run of 3 s with the faults of FAULTS, in virtual time: times are exact."""
    folder = tmp_path_factory.mktemp("faults")
    path = bench_with(folder, FAULTS)
    options = ["--for", "3", "--plain", "--out", str(folder / "out"), "--name", "it"]
    result = CliRunner().invoke(app, ["run", str(path), "--time", "virtual", *options])
    assert result.exit_code == 0, result.output
    (found,) = (folder / "out").glob("*/it")
    return found


@pytest.mark.any_pace
def test_faults_of_a_bench_are_recorded_with_their_times(recorded: Path) -> None:
    rows = rows_of(recorded)
    reported = [(row["event"], row["kind"], row["target"]) for row in rows]
    assert reported == [
        ("begin", "stall", "cam"),
        ("end", "stall", "cam"),
        ("begin", "line-noise", "uno"),
        ("end", "line-noise", "uno"),
        ("begin", "freeze-picture", "eye"),
        ("end", "freeze-picture", "eye"),  # mended when the run turns to its end
    ]
    at_usec = [int(row["time_usec"]) for row in rows]
    for time_usec, due_sec in zip(at_usec, (0.3, 0.8, 1.0, 1.4, 1.6), strict=False):
        assert due_sec * 1e6 <= time_usec < due_sec * 1e6 + 10_000
    assert '"drop":1.0' in rows[2]["settings"]


@pytest.mark.any_pace
def test_a_stalled_camera_leaves_a_gap_in_the_frames_times(recorded: Path) -> None:
    with recording.open(recorded) as opened:
        times = [int(time) for time in opened.video().times_usec]
    begin, end = (int(row["time_usec"]) for row in rows_of(recorded)[:2])
    kept_usec = 4 * 33_333  # the camera keeps four frames of 30 Hz for a late reader
    assert not [time for time in times if begin + 40_000 < time < end - kept_usec - 40_000]
    assert [time for time in times if time > end]


@pytest.mark.any_pace
def test_readings_that_noise_has_swallowed_are_missing(recorded: Path) -> None:
    rows = rows_of(recorded)
    begin, end = int(rows[2]["time_usec"]), int(rows[3]["time_usec"])
    with (recorded / "events" / "table.csv").open() as file:
        times = [int(row["time_usec"]) for row in csv.DictReader(file, delimiter=";")]
    assert not [time for time in times if begin + 20_000 < time < end - 20_000]
    assert [time for time in times if time < begin]
    assert [time for time in times if time > end]


@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        ('at_sec = 1\nkind = "unplg"\ntarget = "uno"', "Did you mean 'unplug'?"),
        ('at_sec = 1\ntarget = "uno"', "'kind' is missing"),
        ('kind = "unplug"\ntarget = "uno"', "'at_sec' is missing"),
        ('at_sec = 1\nkind = "unplug"\ntarget = "unoo"', "Did you mean 'uno'?"),
        ('at_sec = 1\nkind = "unplug"\ntarget = "eye"', "there is no board 'eye'"),
        ('at_sec = 1\nkind = "stall"\ntarget = "camm"', "Did you mean 'cam'?"),
        ('at_sec = -1\nkind = "stall"\ntarget = "cam"', "at_sec: must be a master time, 0 or more"),
        ('at_sec = 1\nfor_sec = 0\nkind = "stall"\ntarget = "cam"', "for_sec: must be above 0"),
        ('at_sec = 1\nfor_sec = 1\nkind = "kill"\ntarget = "cam"', "'kill' has no end"),
        ('at_sec = 1\nkind = "line-noise"\ntarget = "uno"\ndrop = 2.0', "drop: must be a share"),
        ('at_sec = 1\nkind = "line-noise"\ntarget = "uno"', "drop or corrupt must be above 0"),
        ('at_sec = 1\nkind = "line-noise"\ntarget = "uno"\ndorp = 0.1', "Did you mean 'drop'?"),
        ('at_sec = 1\nkind = "skew-clock"\ntarget = "uno"\nppm = "fast"', "ppm"),
        ('at_sec = 1\nkind = "slow-disk"\ntarget = "video"\nbytes_per_sec = 0', "above 0"),
        ('at_sec = 1\nkind = "stuck-line"\ntarget = "uno"\nline = 1\nlevel = true', "2 to 19"),
    ],
)
def test_what_is_wrong_with_a_fault_is_reported_with_a_remedy(
    fault: str, reported: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError) as raised:
        load_bench(bench_with(tmp_path, f"\n[[faults]]\n{fault}\n"))
    assert reported in str(raised.value)
    assert "[[faults]] 1" in str(raised.value)


def test_faults_of_real_devices_are_refused_before_the_run(tmp_path: Path) -> None:
    path = bench_with(tmp_path, FAULTS)
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\nuno = "/dev/ttyACM0"\neye = "/dev/video0"\n')
    with pytest.raises(BenchError) as raised:
        load_bench(path, devices=lab)
    assert "'uno' is /dev/ttyACM0, but 'line-noise' needs a virtual device" in str(raised.value)


def test_a_table_where_a_list_is_due_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Write each fault as a table"):
        load_bench(bench_with(tmp_path, '\n[faults]\nkind = "stall"\n'))


def test_a_fault_that_cannot_be_made_is_logged_and_recorded_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    fault = '\n[[faults]]\nat_sec = 0.2\nkind = "reset"\ntarget = "uno"\n'
    path = bench_with(tmp_path, fault.replace("reset", "unplug") + fault.replace("0.2", "0.4"))
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["run", str(path), "--for", "2.5", "--set", "board.on_loss=continue",
              "--plain", "--out", str(out), "--name", "it"]
    )  # fmt: skip
    (found,) = out.glob("*/it")
    assert [row["event"] for row in rows_of(found)] == ["begin", "failed", "end"]
    assert "fault reset of uno was not made: the board is unplugged" in result.output


# by a test --------------------------------------------------------------------------------------

HEAD = """
import pytest
from mlink_hil.testing import *
pytestmark = pytest.mark.bench("bench.toml", scope="session")
"""


@pytest.fixture
def inner(tmp_path: Path) -> Callable[..., Outcome]:
    """Run a test file on the bench of the light, whose board only speaks the protocol."""

    def run(tests: str, *arguments: str, faults: str = "") -> Outcome:
        folder = copy_example(tmp_path, "camera-sees-light", *PROTOCOL)
        (folder / "test_light.py").write_text(HEAD + tests)
        bench = folder / "bench.toml"
        bench.write_text(bench.read_text() + faults)
        slow = "--mlink-set=cam.framerate=20"  # less to do for a busy machine
        return run_pytest(folder, "--mlink-time=real", slow, *arguments)

    return run


def test_each_fault_shows_and_is_mended(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        """
import time

PLACE = (468, 348, 24, 24)
SOON = 20_000_000  # at any pace of this machine

def answers(bench, board):
    press = board.line(7).drive(False)
    bench.expect(edge(8, rising=True), within_usec=SOON, after=press)
    bench.expect(edge(8, rising=False), within_usec=SOON, after=board.line(7).release())

def test_line_noise(bench, board):
    with bench.faults.line_noise(drop=1.0, direction="to-board"):
        press = board.line(7).drive(False)
        bench.expect(reading(7, value=0), within_usec=SOON, after=press)
        bench.expect_none(edge(8), for_usec=100_000, after=press)
    assert board.stats().bytes_dropped >= 3
    board.line(7).release()
    bench.wait(0.1)
    answers(bench, board)

def test_corruption_is_seeded_and_counted(bench, board):
    before = board.stats().bytes_corrupted
    with bench.faults.line_noise(corrupt=0.5, seed=3, direction="from-board"):
        for _ in range(5):
            board.line(7).pulse(False, 20)
            bench.wait(0.02)
    assert board.stats().bytes_corrupted > before
    board.line(7).pulse(False, 20)  # what the script last heard may have been wrong
    bench.wait(0.1)
    answers(bench, board)

def test_stuck_line(bench, board):
    with bench.faults.stuck_line(7, True):
        press = board.line(7).drive(False)
        bench.expect_none(edge(8), for_usec=100_000, after=press)
        assert board.line(7).level is True
    # what was wired counts again
    bench.expect(edge(8, rising=True), within_usec=SOON, after=press)
    bench.expect(edge(8, rising=False), within_usec=SOON, after=board.line(7).release())

def test_skewed_clock_of_the_camera(bench, camera):
    with bench.faults.skewed_clock("eye", 100_000):
        before = bench.now()
        bench.wait(1.5)
        frames = bench.events(frame(), after=before)
    # in its own time the camera keeps its rate, in true time it is a tenth too fast
    t0_ns = time.monotonic_ns() - bench.now().time_usec * 1000
    assert any(each.time_usec > (each.noted_ns - t0_ns) / 1000 for each in frames)
    answers(bench, bench.board())

def test_frozen_picture(bench, board, camera):
    place = camera.region(*PLACE)
    with bench.faults.frozen_picture("eye"):
        bench.wait(0.2)  # some frames: one that waited for its time already is not frozen
        press = board.line(7).drive(False)
        bench.expect(edge(8, rising=True), within_usec=SOON, after=press)
        bench.expect(frame(), within_usec=SOON, after=press)
        bench.expect_none(place.brightens(above=100), for_usec=200_000, after=press)
    bench.expect(place.brightens(above=100), within_usec=SOON, after=press)

def test_late_stamps(bench, board, camera):
    place = camera.region(*PLACE)
    with bench.faults.late_stamps("eye", 500_000):
        bench.wait(0.1)
        press = board.line(7).drive(False)
        seen = bench.expect(place.brightens(above=100), within_usec=SOON, after=press)
        assert seen.since(press).usec >= 500_000
    board.line(7).release()

def test_faults_are_in_the_history(bench):
    reported = [event.cells[0] for event in bench.run.history.of("fault")]
    assert "line-noise uno" in reported
    assert "end of line-noise uno" in reported

def test_a_fault_that_fits_nothing_is_reported(bench):
    with pytest.raises(Exception, match="Did you mean 'video'"):
        with bench.faults.frozen("vidoe"):
            pass
    with pytest.raises(Exception, match="there is no camera 'uno'"):
        with bench.faults.frozen_picture("uno"):
            pass
""",
        "--mlink-record=never",
        "-p",
        "no:randomly",
    )
    unseen = outcome.text.count("of cam.video were lost on their way to this test")
    assert outcome.counts["passed"] >= 5, outcome.text
    assert outcome.counts["passed"] + unseen == 8, outcome.text  # on a machine that is too busy


def test_the_faults_of_the_bench_file_are_on_a_tests_channel_among_its_own(tmp_path: Path) -> None:
    path = bench_with(tmp_path, FAULTS.replace("at_sec = 1.0", "at_sec = 0.9"))
    run = BenchRun(load_bench(path), RunOptions(out_dir=tmp_path / "out"))
    run.start()
    try:
        with Faults(run).frozen("events") as began:  # a table: the run goes on without it
            pass

        def reported() -> list[str]:
            return [event.cells[0] for event in run.history.of("fault")]

        assert run.history.wait(lambda: "freeze-picture eye" in reported(), 30)
        own = [
            event.time_usec for event in run.history.of("fault") if event.cells == ("stall events",)
        ]
    finally:
        result = run.stop()
    assert own == [began.time_usec]
    assert [what for what in reported() if "events" not in what] == [
        "stall cam",
        "end of stall cam",
        "line-noise uno",
        "end of line-noise uno",
        "freeze-picture eye",
        "end of freeze-picture eye",
    ]
    assert result is not None
    assert result.recording_dir is not None
    (_,) = result.recording_dir.glob("faults*")  # one dataset for both
    made = {(row["kind"], row["target"]) for row in rows_of(result.recording_dir)}
    assert made == {
        ("stall", "cam"), ("stall", "events"), ("line-noise", "uno"), ("freeze-picture", "eye"),
    }  # fmt: skip


def test_a_tests_fault_leaves_the_bench_files_fault_of_the_same_camera_as_it_is(
    inner: Callable[..., Outcome],
) -> None:
    outcome = inner(
        """
def test_frozen_and_late(bench, board, camera):
    place = camera.region(468, 348, 24, 24)
    assert bench.run.history.wait(lambda: bench.run.history.last("fault"), 10)
    with bench.faults.late_stamps("eye", 50_000):
        bench.wait(0.1)
        press = board.line(7).drive(False)
        bench.expect(edge(8, rising=True), within_usec=20_000_000, after=press)
        bench.expect_none(place.brightens(above=100), for_usec=400_000, after=press)
""",
        "--mlink-record=never",
        faults='\n[[faults]]\nat_sec = 0\nkind = "freeze-picture"\ntarget = "eye"\n',
    )
    assert outcome.counts == {"passed": 1}, outcome.text


def test_a_brown_out_puts_the_light_out_and_the_board_comes_back(
    inner: Callable[..., Outcome],
) -> None:
    outcome = inner(
        """
@pytest.mark.bench("bench.toml", set="board.on_loss=continue")
def test_brown_out(bench, board):
    press = board.line(7).drive(False)
    bench.expect(edge(8, rising=True), within_usec=20_000_000, after=press)
    with bench.faults.brown_out() as sag:
        bench.expect(edge(8, rising=False), within_usec=20_000_000, after=press)
        bench.expect_none(reading(7), for_usec=200_000, after=bench.now())
    bench.wait(0.5)
    assert board.stats().cycle > 0
""",
        "--mlink-record=never",
    )
    assert outcome.counts == {"passed": 1}, outcome.text


def test_a_skewed_clock_of_a_board_is_seen_in_its_cycles(tmp_path: Path) -> None:
    path = bench_with(tmp_path, "")
    run = BenchRun(load_bench(path), RunOptions(record=False))
    run.start()
    try:
        faults = Faults(run)

        def rate_hz() -> float:
            before = run.boards["uno"].stats()
            time.sleep(0.3)
            after = run.boards["uno"].stats()
            return (after.cycle - before.cycle) / (after.time_ns - before.time_ns) * 1e9

        assert rate_hz() == pytest.approx(16_000_000, rel=1e-6)
        with faults.skewed_clock("uno", 1000):
            assert rate_hz() == pytest.approx(16_016_000, rel=1e-6)
        assert rate_hz() == pytest.approx(16_000_000, rel=1e-6)
    finally:
        run.stop()


WRITER = """
import sys, time
file = open(sys.argv[1], 'wb', 0)
for line in sys.stdin:
    began = time.monotonic()
    file.write(b'x' * 10_000)
    print(time.monotonic() - began, flush=True)
"""


def test_a_slow_disk_slows_what_a_process_writes_there(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "slow" / "file")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def write_sec() -> float:
            process.stdin.write("again\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        slow = SlowWrites(process.pid, tmp_path / "slow", 200_000, 0.01)
        slow.start()
        slowed = [write_sec() for _ in range(3)]
        slow.stop()
        assert min(slowed) >= 0.06  # 50 ms for the bytes, 10 ms for the write
        assert slow.slowed_bytes == 30_000
        write_sec()
        assert slow.slowed_bytes == 30_000  # no more after the end
        process.stdin.close()


def test_a_recorder_on_a_slow_disk_falls_behind_and_loses_nothing(tmp_path: Path) -> None:
    fault = (
        '\n[[faults]]\nat_sec = 0.2\nfor_sec = 1.0\nkind = "slow-disk"\ntarget = "video"\n'
        "bytes_per_sec = 30000\n"
    )
    path = bench_with(tmp_path, fault)
    out = tmp_path / "out"
    options = ["--for", "2", "--plain", "--out", str(out), "--name", "it", "--json"]
    result = CliRunner().invoke(app, ["run", str(path), *options])
    assert result.exit_code == 0, result.output
    (found,) = out.glob("*/it")
    assert [row["event"] for row in rows_of(found)] == ["begin", "end"]
    with recording.open(found) as opened:
        assert len(opened.video().times_usec) > 40
