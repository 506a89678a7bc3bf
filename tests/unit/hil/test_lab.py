"""A lab's devices file, which may name a tester's lines and a slow host, serves all commands."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mlink.bench import load_bench
from mlink.cli import app
from mlink.errors import BenchError
from mlink_hil.lab import slowness, wires_of
from tests.support.hil_examples import BENCHES

BENCH = BENCHES / "led-follows-button"
DEVICES = """
[devices]
uno = "/dev/ttyACM0"
tester = "/dev/ttyACM1"
eye = "/dev/video0"
"""
WIRING = '[wiring]\n"uno.7" = "tester.4"\n'


@pytest.fixture
def lab(tmp_path):
    """Return a lab's file: its devices, and the tables given."""

    def lab(text):
        path = tmp_path / "lab.toml"
        path.write_text(f"{DEVICES}{text}")
        return path

    return lab


@pytest.fixture
def complaint(lab):
    """Return the message about a lab's file that is wrong."""

    def complaint(text):
        with pytest.raises(BenchError) as error:
            load_bench(BENCH, devices=lab(text))
        return str(error.value)

    return complaint


def test_a_lab_says_which_lines_are_wired_and_how_slow_its_host_is(lab):
    bench = load_bench(BENCH, devices=lab(f"{WIRING}[host]\nslow = 20\n"))
    assert wires_of(bench) == {"uno.7": "tester.4"}
    assert slowness(bench) == 20


def test_a_lab_needs_neither(lab):
    for bench in (load_bench(BENCH, devices=lab("")), load_bench(BENCH)):
        assert wires_of(bench) == {}
        assert slowness(bench) == 1


def test_the_command_line_takes_the_same_file(lab):
    told = CliRunner().invoke(app, ["check", str(BENCH), "--devices", str(lab(WIRING))])
    assert told.exit_code == 0, told.output
    assert "/dev/ttyACM0" in told.output


@pytest.mark.parametrize("wire", ['"uno.7" = "tester"', '"uno" = "tester.4"', '"uno.7" = 4'])
def test_a_wire_that_is_none_is_told(complaint, wire):
    assert "is not a line of a device" in complaint(f"[wiring]\n{wire}\n")


@pytest.mark.parametrize(
    ("wire", "meant"), [('"uno.7" = "testre.4"', "tester"), ('"unno.7" = "tester.4"', "uno")]
)
def test_a_wire_to_a_device_that_the_lab_lacks_is_told(complaint, wire, meant):
    message = complaint(f"[wiring]\n{wire}\n")
    assert "is not in the [devices] table" in message
    assert f"Did you mean '{meant}'?" in message


def test_a_wiring_that_is_no_table_is_told(complaint):
    assert "[wiring]: '[{}]' is not a table" in complaint("[[wiring]]\n")


@pytest.mark.parametrize(
    "text", ["slow = 0", "slow = 'very'", "slo = 2", "slow = 1e9", "slow = true"]
)
def test_a_host_that_is_not_understood_is_told(complaint, text):
    assert "Write slow = 1 to" in complaint(f"[host]\n{text}\n")


def test_a_misspelt_table_is_told(complaint):
    assert "Did you mean 'wiring'?" in complaint("[wirings]\n")
