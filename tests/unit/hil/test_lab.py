"""The tables [wiring] and [host] of a devices file."""

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
    """Return a devices file with these tables."""

    def lab(text):
        path = tmp_path / "lab.toml"
        path.write_text(f"{DEVICES}{text}")
        return path

    return lab


@pytest.fixture
def message_for(lab):
    """Return the error message for a devices file with these tables."""

    def message_for(text):
        with pytest.raises(BenchError) as error:
            load_bench(BENCH, devices=lab(text))
        return str(error.value)

    return message_for


def test_a_devices_file_has_the_wires_and_the_slowness_of_its_host(lab):
    bench = load_bench(BENCH, devices=lab(f"{WIRING}[host]\nslow = 20\n"))
    assert wires_of(bench) == {"uno.7": "tester.4"}
    assert slowness(bench) == 20


def test_both_tables_are_optional(lab):
    for bench in (load_bench(BENCH, devices=lab("")), load_bench(BENCH)):
        assert wires_of(bench) == {}
        assert slowness(bench) == 1


def test_the_command_line_accepts_the_same_file(lab):
    result = CliRunner().invoke(app, ["check", str(BENCH), "--devices", str(lab(WIRING))])
    assert result.exit_code == 0, result.output
    assert "/dev/ttyACM0" in result.output


@pytest.mark.parametrize("wire", ['"uno.7" = "tester"', '"uno" = "tester.4"', '"uno.7" = 4'])
def test_a_wire_without_two_lines_is_an_error(message_for, wire):
    assert "is not a line of a device" in message_for(f"[wiring]\n{wire}\n")


@pytest.mark.parametrize(
    ("wire", "meant"), [('"uno.7" = "testre.4"', "tester"), ('"unno.7" = "tester.4"', "uno")]
)
def test_a_wire_to_an_unknown_device_is_an_error(message_for, wire, meant):
    message = message_for(f"[wiring]\n{wire}\n")
    assert "is not in the [devices] table" in message
    assert f"Did you mean '{meant}'?" in message


def test_a_wiring_that_is_no_table_is_an_error(message_for):
    assert "[wiring]: '[{}]' is not a table" in message_for("[[wiring]]\n")


@pytest.mark.parametrize(
    "text", ["slow = 0", "slow = 'very'", "slo = 2", "slow = 1e9", "slow = true"]
)
def test_a_host_with_other_keys_or_values_is_an_error(message_for, text):
    assert "Write slow = 1 to" in message_for(f"[host]\n{text}\n")


def test_a_misspelt_table_is_an_error(message_for):
    assert "Did you mean 'wiring'?" in message_for("[wirings]\n")
