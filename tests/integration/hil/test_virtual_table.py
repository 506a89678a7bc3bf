"""Simulated parts in runs: two simulated chips, and the worked examples upon them."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import mlink
from mlink.bench import load_bench
from mlink.engine.guests import Hosting
from mlink.engine.setup import devices
from mlink.errors import DeviceError
from mlink_hil.control.board import VirtualBoard
from tests.support.boards.virtual_uno import SerialClient
from tests.support.hil_examples import BENCHES, copy_example, run_pytest

pytestmark = pytest.mark.sim

HEAD = """
[devices]
uno = "virtual:uno"

[modules.board]
type = "firmata-io"
device = "uno"
"""

LAMP = BENCHES / "dut-firmware" / "firmware"
BUGGY = "--mlink-set=virtual.lamp.firmware=firmware/lamp-buggy.hex"


def open_devices(bench, work_dir):
    """Open the devices as a run does that has nothing else to do."""
    hosting = Hosting(time.sleep, lambda: None, lambda: False, lambda: False)
    return devices.open_devices(bench, work_dir, hosting, 60)


def write_bench(folder: Path, text: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(HEAD + text)
    return path


@pytest.mark.any_pace
def test_the_lamps_good_firmware_passes_and_the_bug_in_the_other_is_found(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "dut-firmware")
    good = run_pytest(folder, "--mlink-record=never")
    assert good.code == 0, good.text
    assert good.counts["passed"] + good.counts.get("skipped", 0) == 4
    buggy = run_pytest(folder, "--mlink-record=never", "-k", "switches_the_lamp_once", BUGGY)
    assert buggy.code == 1, buggy.text
    assert "switched by press 0 = 3 , limits" in buggy.text


@pytest.mark.any_pace
def test_the_bug_is_not_seen_with_a_contact_that_does_not_bounce(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "dut-firmware")
    clean = "--mlink-set=virtual.relay.settings.bounce_usec=[]"
    outcome = run_pytest(
        folder, "--mlink-record=never", "-k", "switches_the_lamp_once", BUGGY, clean
    )
    assert outcome.code == 0, outcome.text


CHIP_TEST = """
import pytest
from mlink_hil.testing import edge

pytestmark = pytest.mark.bench("bench.toml")

def test_the_tester_sees_the_chips_pin_over_the_wire(bench):
    lit = bench.expect(edge(8, board="lamp"), within_usec=2_000_000, after=bench.now())
    bench.expect(edge(7, board="uno"), within_usec=100, after=lit)
    assert bench.board("lamp").line(8).level in (True, False)
"""


@pytest.mark.any_pace
def test_a_test_watches_the_pins_of_the_chip_under_test(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "dut-firmware")
    (folder / "test_lamp.py").write_text(CHIP_TEST)
    outcome = run_pytest(folder, "--mlink-record=never")
    assert outcome.code == 0, outcome.text


@pytest.mark.any_pace
def test_two_boards_answer_each_other(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "two-boards")
    outcome = run_pytest(folder, "--mlink-record=never")
    assert outcome.counts == {"passed": 4}, outcome.text


def test_two_boards_answer_each_other_in_real_time(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "two-boards")
    real = ["--mlink-time=real", "--mlink-inconclusive=skip"]  # on a machine that is too busy
    outcome = run_pytest(folder, "--mlink-record=never", *real)
    assert outcome.code == 0, outcome.text
    assert outcome.counts["passed"] >= 3


@pytest.mark.any_pace
@pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="gcc-avr is not installed")
def test_the_committed_firmware_of_the_lamp_is_what_its_source_builds(tmp_path: Path) -> None:
    command = ["make", "-s", "-C", str(LAMP), "check", f"BUILD={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_chip_has_pins_to_watch_and_a_change_takes_20_usec_along_the_wire(tmp_path: Path) -> None:
    text = f"""
    [virtual.lamp]
    type = "chip"
    firmware = "{LAMP}/lamp-good.hex"
    wires = {{ 8 = "uno.7" }}
    """
    bench = load_bench(write_bench(tmp_path, text))
    with (
        open_devices(bench, tmp_path) as endpoints,
        VirtualBoard.connect(endpoints["uno"].control) as uno,
        VirtualBoard.connect(tmp_path / "lamp.sock") as lamp,
    ):
        serial = SerialClient(endpoints["uno"].address)
        serial.send(0xF4, 7, 0)  # line 7 is an input; until then it holds the lamp's pin low
        serial.skip()
        uno.watch([7])
        lamp.watch([8])
        lamp.drive(2, False)  # press
        sent, seen = lamp.wait_edge(8, timeout_sec=5), uno.wait_edge(7, timeout_sec=30)
        serial.close()
        assert sent is not None
        assert seen is not None
        assert sent.level == seen.level
        assert abs(seen.time_ns - sent.time_ns - 20_000) <= 250  # an instruction
        assert lamp.read(8).output
        stats = lamp.stats()
        assert stats.firmware == "lamp-good.hex"
    assert not list(tmp_path.glob("*.sock"))


def test_a_wires_own_delay_is_added_to_the_cycle(tmp_path: Path) -> None:
    text = f"""
    [virtual.lamp]
    type = "chip"
    firmware = "{LAMP}/lamp-good.hex"
    wires = {{ 13 = "uno.6" }}

    [virtual.cable]
    type = "wire"
    ends = ["lamp.8", "uno.7"]
    delay_usec = 300
    """
    bench = load_bench(write_bench(tmp_path, text))
    with (
        open_devices(bench, tmp_path) as endpoints,
        VirtualBoard.connect(endpoints["uno"].control) as uno,
        VirtualBoard.connect(tmp_path / "lamp.sock") as lamp,
    ):
        serial = SerialClient(endpoints["uno"].address)
        serial.send(0xF4, 6, 0, 0xF4, 7, 0)  # inputs; until then they hold the lamp's pins low
        while uno.read(7).output:
            time.sleep(0.01)
        uno.watch([6, 7])
        lamp.watch([8, 13])
        lamp.drive(2, False)  # press: pin 13 shines at once, pin 8 a little later
        cycles = {}
        for board, pin in ((lamp, 13), (lamp, 8), (uno, 6), (uno, 7)):
            edge = board.wait_edge(pin, True, timeout_sec=30)
            assert edge is not None
            cycles[pin] = edge.cycle
        serial.close()
    # each processor counts from its own power-on; over a plain wire the difference is 20 µs more
    late = (cycles[7] - cycles[8]) - (cycles[6] - cycles[13])
    assert abs(late - 300 * 16) <= 4  # an instruction


def test_a_real_converter_measures_a_sensors_voltage(tmp_path: Path) -> None:
    text = """
    [virtual.temperature]
    type = "sensor"
    line = "uno.A0"
    waveform = "square"
    low_volt = 1
    high_volt = 4
    hz = 5
    """
    with open_devices(load_bench(write_bench(tmp_path, text)), tmp_path) as endpoints:
        serial = SerialClient(endpoints["uno"].address)
        serial.send(0xC0, 1)  # report A0
        data = serial.read(150, timeout_sec=20)
        serial.close()
    values = [
        low | high << 7
        for status, low, high in zip(data, data[1:], data[2:], strict=False)
        if status == 0xE0 and low < 0x80 and high < 0x80
    ]
    lows, highs = [v for v in values if v < 500], [v for v in values if v >= 500]
    assert len(lows) > 5
    assert len(highs) > 5
    assert all(abs(value - 1 / 5 * 1024) < 8 for value in lows)
    assert all(abs(value - 4 / 5 * 1024) < 8 for value in highs)


@pytest.mark.any_pace
def test_a_real_board_in_place_of_the_virtual_one_leaves_the_table_unused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = '[virtual.finger]\ntype = "button"\nline = "uno.7"\n'
    path = write_bench(tmp_path, text)
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\nuno = "/dev/ttyACM0"\n')
    caplog.set_level(logging.INFO, "mlink.devices")
    with open_devices(load_bench(path, devices=lab), tmp_path) as endpoints:
        assert endpoints["uno"].address == "/dev/ttyACM0"
    assert "[virtual] is not used: no device of this run is 'virtual:…'" in caplog.text


@pytest.mark.any_pace
def test_a_model_that_fails_ends_the_program_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dut.py").write_text(
        "from mlink_hil.dut import Dut\n"
        "class Bad(Dut):\n"
        "    pins = ('a',)\n"
        "    def start(self):\n"
        "        self.set('b', True)\n"
    )
    text = '[virtual.dut]\ntype = "model"\nsource = "dut.py:Bad"\nwires = { a = "uno.4" }\n'
    bench = load_bench(write_bench(tmp_path, text))
    with (
        pytest.raises(DeviceError, match=r"the model 'dut' failed at .*dut.py:5"),
        open_devices(bench, tmp_path),
    ):
        pass


SLEEPER = """
import time
from mlink_hil.dut import Dut

class Sleeper(Dut):
    pins = ("out",)

    def start(self):
        self.wake(500_000)

    def advance(self, now_usec):
        time.sleep(0.5)
        self.wake(1_000_000)
"""


def test_a_simulation_that_skips_time_is_in_the_hints_of_the_run_and_of_its_record(
    tmp_path: Path,
) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    table = '[virtual.sleeper]\ntype = "model"\nsource = "sleeper.py:Sleeper"\n'
    bench = write_bench(tmp_path, table + 'wires = { out = "uno.7" }\n')
    result = mlink.run(bench, duration_s=4, out=tmp_path)
    assert result.success
    assert result.reports["uno"]["simulation_skipped_ms"] > 400
    assert result.reports["board"]["board_clock_uncertainty_max_usec"] > 100_000
    assert sum("simulate it in real time" in hint for hint in result.hints) == 1
    assert sum("times of the board can be wrong by" in hint for hint in result.hints) == 1
    record = mlink.open_recording(result.recording_dir)
    assert record.attributes["hints"] == result.hints
