"""A board behind each kind of adapter: its times are as true as they are stated, twice the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlink import recording
from mlink_hil.sim.fetch_firmware import is_cached
from tests.integration.virtual_time.test_all_simulated_parts import twice

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

ADAPTERS = {
    "none": ("", 0),
    "usb": ('adapter = "usb"', 1000),
    "ftdi": ('adapter = "ftdi"', 1000),
    "ftdi at 16 ms": ('adapter = "ftdi"\nlatency_timer_writable = false', 16_000),
}
"""Settings of the part of the board, and the latency of the adapter as mlink leaves it, µs."""

BENCH = """\
[bench]
name = "adapters"

[devices]
uno = "virtual:uno?firmware={firmware}&clock_ppm=-70"

[virtual.plug]
type = "board"
device = "uno"
{adapter}

[modules.board]
type = "firmata-io"
device = "uno"
inputs = {{ fmctl = "loop.firmatactl-out" }}

[modules.finger]
type = "virtual-button"
device = "uno"
line = 7
presses_hz = 23
press_msec = 17

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [
    {{ id = "readings", data_type = "LineReading" }},
    {{ id = "edges", data_type = "LineReading" }},
]
ports_out = [
    {{ id = "firmatactl-out", data_type = "LineCommand" }},
    {{ id = "table-out", data_type = "TableRow" }},
]
inputs = {{ readings = "board.fmdata", edges = "finger.edges" }}

[modules.log]
type = "table"
inputs = {{ rows = "loop.table-out" }}
"""
LOOP = """\
import syntalos_mlink as syl

commands = syl.get_output_port("firmatactl-out")
table = syl.get_output_port("table-out")
button = syl.HwInputLine(commands, 7)

def prepare():
    table.set_metadata_value("table_header", ["what", "value", "time_usec"])
    for name in ("readings", "edges"):
        syl.get_input_port(name).on_data = lambda item, name=name: table.submit(
            [name, item.value, item.time_usec]
        )

def start():
    button.send_mode()
"""


def write_bench(folder: Path, firmware: str, adapter: str) -> None:
    if firmware == "standard" and not is_cached():
        pytest.skip("StandardFirmata is not installed (mlink_hil.sim.fetch_firmware)")
    (folder / "bench.toml").write_text(BENCH.format(firmware=firmware, adapter=adapter))
    (folder / "loop.py").write_text(LOOP)


@pytest.mark.parametrize("firmware", ["mlink", "standard"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_times_of_edges_are_as_true_as_stated(tmp_path: Path, adapter: str, firmware: str) -> None:
    settings, latency_usec = ADAPTERS[adapter]
    write_bench(tmp_path, firmware, settings)
    first = twice(tmp_path, seconds="4")
    with recording.open(first) as found:
        rows = [(what, value, int(usec)) for what, value, usec in found["log"].rows]
        source = found["log"].attributes
        attributes = found.attributes
    print(attributes["reports"]["board"], attributes["devices"], source)
    true = [(value, usec) for what, value, usec in rows if what == "edges"]
    seen = [(value, usec) for what, value, usec in rows if what == "readings"][1:]
    assert len(seen) > 60
    assert len(true) - len(seen) in (0, 1)
    errors = [usec - edge for (_, usec), (_, edge) in zip(seen, true, strict=False)]
    print(adapter, firmware, min(errors), max(errors), sorted(errors)[len(errors)//2])
    assert [value for value, _ in seen] == [value for value, _ in true[:len(seen)]]
