"""A board behind each kind of adapter: its times are as true as they are stated, twice the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink import recording
from mlink_hil.sim.fetch_firmware import is_cached
from tests.integration.virtual_time.test_all_simulated_parts import twice
from tests.integration.virtual_time.test_simulated_benches import run

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
on_loss = "continue"
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

[modules.link]
type = "table"
inputs = {{ rows = "board.events" }}
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
    stated = syl.get_input_port("readings").metadata
    table.submit(["stated", stated["uncertainty_usec"], stated["adapter_latency_usec"]])
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
    done = run(tmp_path, "--for", "2", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    with recording.open(tmp_path / "out" / "recording") as found:
        rows = [(what, int(value), int(usec)) for what, value, usec in found["log"].rows]
        device = found.attributes["devices"]["uno"]
        reports = found.attributes["reports"]["board"]
    ((stated_usec, stated_latency_usec),) = [row[1:] for row in rows if row[0] == "stated"]
    true = [row[1:] for row in rows if row[0] == "edges"]
    seen = [row[1:] for row in rows if row[0] == "readings"][1:]  # without the level at the start
    assert device["adapter"].startswith(adapter.partition(" ")[0].replace("none", "no adapter"))
    assert stated_latency_usec == latency_usec
    assert len(seen) > 30
    assert len(true) - len(seen) in (0, 1, 2)  # some were on their way at the end
    assert [level for level, _ in seen] == [level for level, _ in true[: len(seen)]]
    errors = [usec - edge for (_, usec), (_, edge) in zip(seen, true, strict=False)]
    assert max(map(abs, errors)) <= stated_usec
    if firmware == "mlink":
        assert abs(errors[-1]) <= reports["board_clock_uncertainty_usec"]


CABLE = """
from mlink.scripting.link import get_link
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.messages import Plug, Unplug
from mlink_hil.control.socket_path import control_path

def run():
    board = VirtualBoard(control_path(get_link()._context.run_info.work_dir, "uno"))
    for pause_msec, request in ((500.37, Unplug()), (1000, Plug())):
        syl.wait(pause_msec)
        board.do(request)
    syl.await_data()
"""


@pytest.mark.parametrize("adapter", ["usb", "ftdi", "ftdi at 16 ms"])
def test_a_board_is_unplugged_and_found_again_behind_an_adapter(
    tmp_path: Path, adapter: str
) -> None:
    settings, latency_usec = ADAPTERS[adapter]
    write_bench(tmp_path, "mlink", settings)
    (tmp_path / "loop.py").write_text(LOOP + CABLE)
    first = twice(tmp_path, seconds="3")
    with recording.open(first) as found:
        rows = [(what, int(value), int(usec)) for what, value, usec in found["log"].rows]
        events = [
            (int(usec), what)
            for usec, what, _ in found["link"].rows
            if what not in ("clock-uncertain", "clock-certain")  # the clock begins anew
        ]
        log = (first / "run.log").read_text()
    assert [what for _, what in events] == ["connected", "lost", "reopening", "connected"]
    assert events[1][0] == 500_370
    back_usec = events[3][0]
    assert 1_500_370 < back_usec < 2_500_000
    true = [(value, usec) for what, value, usec in rows if what == "edges"]
    seen = [(value, usec) for what, value, usec in rows if what == "readings"]
    assert not [usec for _, usec in seen if 510_000 < usec < 1_500_370]
    after = [level for level, usec in seen if usec > back_usec + 300_000]
    assert len(after) >= 15
    assert after == [level for level, usec in true if usec > back_usec + 300_000][: len(after)]
    timer = "1 ms, was 16 ms" if latency_usec == 1000 else "it cannot be lowered"
    assert (timer in log) == (adapter != "usb")
