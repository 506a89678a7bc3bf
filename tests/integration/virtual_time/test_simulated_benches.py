"""Benches of simulated devices in virtual time: the same files twice, however busy the machine."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlink import recording
from mlink.recording.care.verify import verify_recording
from tests.support.hil_examples import BENCHES

pytestmark = pytest.mark.sim


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlink", "run", "bench.toml", "--time", "virtual", "--plain",
         "--out", str(folder / "out"), "--order", "", *options],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Two runs of the demo with one seed, and a third with another."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(BENCHES / "led-follows-button", folder, dirs_exist_ok=True)
    for out, seed in (("first", "7"), ("second", "7"), ("third", "8")):
        done = run(folder, "--for", "2", "--seed", seed)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "out" / "recording").rename(folder / out)
    return folder


def test_two_runs_with_one_seed_give_the_same_files_to_the_byte(demo):
    first, second = files_of(demo / "first"), files_of(demo / "second")
    assert sorted(first) == sorted(second)
    assert any(name.startswith("videos/cam/") for name in first)
    assert "board-clock/board-clock.tsync" in first
    differing = [name for name in first if not filecmp.cmp(first[name], second[name], False)]
    assert differing == []


def test_another_seed_gives_another_id_and_the_same_data(demo):
    with recording.open(demo / "first") as first, recording.open(demo / "third") as third:
        assert first.collection_id != third.collection_id
        assert list(first["events"].times_usec) == list(third["events"].times_usec)
        assert first.attributes["seed"] == 7
        assert first.attributes["time"] == "virtual"


def test_the_loop_works_and_nothing_is_lost(demo):
    with recording.open(demo / "first") as first:
        assert len(first["video"].times_usec) == 61  # 30 per second, both ends included
        presses = len(first["events"].times_usec)
        assert presses >= 12
        answered = first["finger-latencies"]
        assert len(answered.times_usec) in (presses, presses - 1)
    report = verify_recording(demo / "first")
    assert not report.of_level("damage")
    assert not report.of_level("incomplete")


def test_a_seed_gives_the_same_files_in_another_folder_at_another_priority_and_speed(tmp_path):
    text = '[bench]\nname = "x"\n[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'
    # At 1000 × real time each turn is late.
    for name, speed, prefix in (("one", "10", ()), ("two", "1000", ("nice", "-n", "5"))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "bench.toml").write_text(text)
        (folder / "loop.py").write_text(
            "import syntalos_mlink as syl\n"
            "def run():\n"
            "    while syl.is_running():\n"
            "        syl.wait(100)\n"
            "def stop():\n"
            "    print('stops', syl.time_since_start_usec())\n"
        )
        (folder / ".#loop.py").symlink_to("me@here.1:2")  # as Emacs marks a file that is edited
        (folder / "helpers.py").mkdir()
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "mlink", "run", "bench.toml", "--time", "virtual",
             "--seed", "3", "--for", "1", "--out", "out", "--order", "", "--speed", speed],
            cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    one, two = (files_of(tmp_path / name / "out") for name in ("one", "two"))
    assert sorted(one) == sorted(two) != []
    assert [name for name in one if not filecmp.cmp(one[name], two[name], False)] == []
    assert "machine_node" not in (tmp_path / "one/out/recording/attributes.toml").read_text()


def test_a_real_device_is_refused_in_words(tmp_path):
    shutil.copytree(BENCHES / "led-follows-button", tmp_path, dirs_exist_ok=True)
    (tmp_path / "lab.toml").write_text('[devices]\nuno = "/dev/ttyACM9"\neye = "virtual:scene"\n')
    done = run(tmp_path, "--for", "1", "--devices", "lab.toml")
    assert done.returncode != 0
    assert "runs in real time only" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_slow_disks_and_unpaced_videos_are_refused_in_words(tmp_path):
    shutil.copytree(BENCHES / "led-follows-button", tmp_path, dirs_exist_ok=True)
    bench = tmp_path / "bench.toml"
    whole = bench.read_text()
    slow = 'kind = "slow-disk"\ntarget = "video"\nat_sec = 1\nbytes_per_sec = 1e6\n'
    bench.write_text(f"{whole}\n[[faults]]\n{slow}")
    done = run(tmp_path, "--for", "1")
    assert done.returncode == 2
    assert "slow-disk of video acts in real time only" in done.stdout + done.stderr
    bench.write_text(whole)
    done = run(tmp_path, "--for", "1", "--set", "cam.paced=false")
    assert done.returncode == 2
    assert "virtual:scene runs in real time only" in done.stdout + done.stderr


def test_a_bench_without_devices_runs_as_fast_as_it_can(tmp_path):
    (tmp_path / "bench.toml").write_text(
        '[bench]\nname = "x"\n[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'
    )
    (tmp_path / "loop.py").write_text(
        "import syntalos_mlink as syl\n"
        "def run():\n"
        "    while syl.is_running():\n"
        "        syl.wait(100)\n"
        "        print(syl.time_since_start_usec())\n"
    )
    done = run(tmp_path, "--for", "600")
    assert done.returncode == 0, done.stdout
    assert "599900000" in done.stdout


def test_seed_and_speed_are_for_virtual_time(tmp_path):
    shutil.copytree(BENCHES / "led-follows-button", tmp_path, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "run", "bench.toml", "--seed", "1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "seed is for virtual time" in done.stderr


def test_a_scripts_cost_delays_its_handler_item_by_item(tmp_path):
    ports = 'data_type = "TableRow" }]\n'
    (tmp_path / "bench.toml").write_text(
        '[bench]\nname = "x"\n'
        '[modules.tick]\ntype = "pyscript"\nscript = "tick.py"\n'
        f'ports_out = [{{ id = "out", {ports}'
        '[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'
        f'inputs = {{ in = "tick.out" }}\nports_in = [{{ id = "in", {ports}'
    )
    (tmp_path / "tick.py").write_text(
        "import syntalos_mlink as syl\n"
        "def run():\n"
        "    syl.wait(100)\n"
        "    for _ in range(3):\n"
        "        syl.get_output_port('out').submit([syl.time_since_start_usec()])\n"
        "    syl.await_data()\n"
    )
    (tmp_path / "loop.py").write_text(
        "import syntalos_mlink as syl\n"
        "def prepare():\n"
        "    syl.get_input_port('in').on_data = lambda row: print(\n"
        "        'delay', syl.time_since_start_usec() - int(row[0])\n"
        "    )\n"
    )
    for cost, delays in ((0, (0, 0, 0)), (700, (700, 1400, 2100))):
        done = run(tmp_path, "--for", "1", "--set", f"loop.cost_usec={cost}")
        assert done.returncode == 0, done.stdout
        found = [int(line.split()[-1]) for line in done.stdout.splitlines() if "delay " in line]
        assert found == list(delays)
        (folder,) = (tmp_path / "out").iterdir()
        with recording.open(folder) as made:
            assert made.attributes.get("cost_usec") == ({"loop": cost} if cost else None)
        shutil.rmtree(folder)
