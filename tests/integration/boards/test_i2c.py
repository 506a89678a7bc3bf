"""I2C of a bench in virtual time: the sensor of the docs, and everything that goes wrong."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mlink.script as ms
from mlink import recording
from mlink.errors import ModuleError
from mlink_hil.sim.fetch_firmware import is_cached
from tests.integration.virtual_time.test_simulated_benches import run
from tests.unit.test_docs import BLOCKS, python_block

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

SPECS = (
    "virtual:uno",
    "virtual:mega",
    "virtual:leonardo",  # its firmware has no room for more than the messages of Firmata
    "virtual:uno?simulator=protocol",
)

BENCH = """
[bench]
name = "i2c"
[devices]
uno = "{spec}"
[virtual.memory]
type = "model"
source = "memory.py:Memory"
i2c = "uno"
[modules.board]
type = "firmata-io"
device = "uno"
sampling_interval_msec = 20
inputs = {{ fmctl = "loop.commands" }}
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{{ id = "replies", data_type = "TableRow" }}]
ports_out = [{{ id = "commands", data_type = "LineCommand" }}]
inputs = {{ replies = "board.replies" }}
[modules.log]
type = "table"
inputs = {{ rows = "board.replies" }}
"""
MEMORY = """
from mlink_hil.dut import I2cDevice

class Memory(I2cDevice):
    address = 0x50
    register_bytes = 2

    def start(self):
        self.registers[:] = bytes(at % 251 for at in range(len(self.registers)))
        self.wake(1_000_000)

    def on_write(self, register, data, now_usec):
        super().on_write(register, data, now_usec)
        self.present = data != b"off"
        if data == b"hold":
            self.hold_sda(True)

    def advance(self, now_usec):
        self.present = True
        self.hold_sda(False)
"""
LOOP = """
import syntalos_mlink as syl
import mlink.script as ms

replies = syl.get_input_port("replies")
commands = syl.get_output_port("commands")

def end():
    ms.i2c_end(commands, 0x50, 0x0102)

def start():
    replies.on_data = lambda row: None
{orders}
"""


def replies_of(folder: Path) -> list[tuple[str, ...]]:
    """Return the rows of `replies` without their times."""
    with recording.open(folder / "out/recording") as found:
        return [tuple(row[1:]) for row in found.table("log").rows]


def run_orders(
    folder: Path,
    *orders: str,
    spec: str = "virtual:uno",
    seconds: float = 2,
    bench: str = BENCH,
) -> subprocess.CompletedProcess[str]:
    (folder / "memory.py").write_text(MEMORY)
    lines = "\n".join(f"    {order}" for order in orders)
    (folder / "loop.py").write_text(LOOP.format(orders=lines))
    (folder / "bench.toml").write_text(bench.format(spec=spec))
    return run(folder, "--for", str(seconds), "--verbose")


def words(done: subprocess.CompletedProcess[str]) -> str:
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.mark.parametrize("spec", SPECS)
def test_the_sensor_of_the_docs_switches_a_fan(tmp_path: Path, spec: str) -> None:
    for name in ("fan.py", "lm75.py"):
        (tmp_path / name).write_text(python_block("docs/boards.md", f"# {name}\n"))
    (bench,) = [b.text for b in BLOCKS if b.page == "docs/boards.md" and "lm75.py:Lm75" in b.text]
    (tmp_path / "bench.toml").write_text(bench.replace('"virtual:uno"', f'"{spec}"'))
    done = run(tmp_path, "--for", "7", "--verbose")
    assert done.returncode == 0, words(done)
    rows = [row for row in replies_of(tmp_path) if row[0] == "i2c"]
    degrees = [int.from_bytes(bytes.fromhex(row[3]), "big") / 256 for row in rows]
    assert len(rows) >= 50
    assert {row[1:3] for row in rows} == {("72", "0")}
    steps = {round(later - earlier, 1) for earlier, later in itertools.pairwise(degrees[1:])}
    assert steps == {0.1}
    assert degrees[-1] > 25
    executed = re.search(r"commands executed +(\d+)", words(done))
    assert executed is not None
    assert int(executed[1]) == 2 + len(rows)  # mode, order, and one for each reading


def test_registers_of_16_bits_starts_and_speed(tmp_path: Path) -> None:
    done = run_orders(
        tmp_path,
        "ms.i2c_setup(commands, khz=400)",
        "ms.i2c_write(commands, 0x50, bytes((0x12, 0x34, 1, 2)))",
        "ms.i2c_read(commands, 0x50, 3, 0x1234, register_bytes=2)",
        "ms.i2c_read(commands, 0x50, 1)",
        "ms.i2c_read(commands, 0x50, 2, 0x1235, register_bytes=2, repeated_start=False)",
        "ms.i2c_scan(commands)",
    )
    assert done.returncode == 0, words(done)
    third = f"{0x1236 % 251:02x}"
    assert replies_of(tmp_path) == [
        ("i2c", "80", str(0x1234), f"01 02 {third}"),
        ("i2c", "80", "0", "01"),
        ("i2c", "80", str(0x1235), f"02 {third}"),
        ("i2c-scan", "", "", "50"),
    ]


def test_a_continuous_read_ends_at_its_order(tmp_path: Path) -> None:
    read = "ms.i2c_read(commands, 0x50, 1, 0x0102, register_bytes=2, continuously=True)"
    done = run_orders(tmp_path, read, read, "syl.schedule_delayed_call(300, end)", seconds=1)
    assert done.returncode == 0, words(done)
    assert 12 <= len(replies_of(tmp_path)) <= 17  # of 300 ms, once per 20 ms, not twice


def test_faults_are_rows_and_are_logged_once(tmp_path: Path) -> None:
    done = run_orders(
        tmp_path,
        "ms.i2c_read(commands, 0x51, 1, 0, continuously=True)",
        "ms.i2c_write(commands, 0x52, b'x')",
        "ms.i2c_scan(commands)",
    )
    assert done.returncode == 0, words(done)
    rows = replies_of(tmp_path)
    assert set(rows) == {
        ("i2c-error", "81", "0", "no device answers"),
        ("i2c-error", "82", "0", "no device answers"),
        ("i2c-scan", "", "", "50"),
    }
    text = words(done)
    assert text.count("I2C address 0x51: no device answers. Check the device's address") == 1
    count = rows.count(("i2c-error", "81", "0", "no device answers"))
    assert count > 80
    logged = re.search(r"I2C address 0x51: no device answers (\d+) times", text)
    assert logged is not None
    assert count <= int(logged[1]) <= count + 2  # the table ends before the last commands
    assert f"i2c faults {int(logged[1]) + 1}" in text


def test_a_device_that_goes_away_or_blocks_the_bus_and_comes_back(tmp_path: Path) -> None:
    for word, fault in (("off", "no device answers"), ("hold", "the bus is blocked: SDA is held")):
        folder = tmp_path / word
        folder.mkdir()
        done = run_orders(
            folder,
            f"ms.i2c_write(commands, 0x50, b'\\0\\0{word}')",
            "ms.i2c_read(commands, 0x50, 1, 1, register_bytes=2, continuously=True)",
        )
        assert done.returncode == 0, words(done)
        rows = replies_of(folder)
        assert fault in rows[1][3]
        letter = f"{ord(word[1]):02x}"
        assert [row for row in rows if row[0] == "i2c"][-20:] == [("i2c", "80", "1", letter)] * 20


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("ms.i2c_setup(commands, khz=400)", "I2C of 400 kHz"),
        ("ms.i2c_scan(commands)", "scan of the I2C bus"),
        (
            "ms.i2c_read(commands, 80, 1, 1, register_bytes=2, repeated_start=True)",
            "a repeated start with an I2C register of 16 bits",
        ),
        (
            "ms.i2c_read(commands, 80, 1, 1, register_bytes=2, continuously=True)",
            "repeated reads with an I2C register of 16 bits",
        ),
    ],
)
def test_what_another_firmware_cannot_do_is_refused_in_words(
    tmp_path: Path, order: str, message: str
) -> None:
    done = run_orders(tmp_path, order, spec="virtual:uno?simulator=protocol")
    assert done.returncode == 1
    assert message in words(done)
    assert "mlink flash DEVICE" in words(done)


def test_another_firmware_reads_a_register_of_16_bits_behind_a_stop(tmp_path: Path) -> None:
    done = run_orders(
        tmp_path,
        "ms.i2c_read(commands, 0x50, 2, 0x0201, register_bytes=2)",
        "ms.i2c_read(commands, 0x51, 2, 7)",
        spec="virtual:uno?simulator=protocol",
    )
    assert done.returncode == 0, words(done)
    rows = replies_of(tmp_path)
    assert rows[0] == ("i2c", "80", "0", f"{0x201 % 251:02x} {0x202 % 251:02x}")
    assert rows[1] == ("string", "", "", "I2C: Too few bytes received")
    assert rows[2] == ("i2c-error", "81", "7", "no device answers")


@pytest.mark.skipif(not is_cached(), reason="StandardFirmata's image is not on this machine")
def test_standard_firmata_that_hangs_in_i2c_is_lost_in_these_words(tmp_path: Path) -> None:
    order = "ms.i2c_read(commands, 0x51, 1, 0)"  # StandardFirmata's Wire waits for the bus
    done = run_orders(tmp_path, order, spec="virtual:uno?firmware=standard", seconds=10)
    assert done.returncode == 1
    assert "the board is silent: it answered no query for 2 s, since the read of an I2C" in words(
        done
    )
    assert "check the device's address and wires" in words(done)
    assert "mlink flash DEVICE" in words(done)


@pytest.mark.parametrize(
    "order",
    [
        "ms.i2c_read(commands, 0x78, 1)",
        "ms.i2c_read(commands, 0x50, 0)",
        "ms.i2c_read(commands, 0x50, 33)",
        "ms.i2c_read(commands, 0x50, 1, 256)",
        "ms.i2c_read(commands, 0x50, 1, 1, register_bytes=3)",
        "ms.i2c_write(commands, 0x50, b'')",
        "ms.i2c_write(commands, 0x50, bytes(33))",
        "ms.i2c_setup(commands, khz=1000)",
        "ms.i2c_setup(commands, delay_usec=20_000)",
        "ms.i2c_end(commands, 0x50, -1)",
        "ms.i2c_end(commands, 0x50, 'x')",
        "ms.i2c_end(commands, '0x50')",
        "ms.i2c_read(commands, 0x50, 1.5)",
    ],
)
def test_values_out_of_range_are_refused_in_the_script(order: str) -> None:
    sent: list[Any] = []
    commands = SimpleNamespace(submit=sent.append)
    with pytest.raises(ModuleError, match=r"cannot be .*\n.*Give a whole number from"):
        exec(order, {"ms": ms, "commands": commands})
    assert sent == []


@pytest.mark.parametrize("data", ["'abc'", "7", "[1, 2]", "None"])
def test_what_is_no_bytes_is_refused_in_the_script(data: str) -> None:
    with pytest.raises(ModuleError, match=r"data cannot be .*\n.*Give bytes"):
        exec(f"ms.i2c_write(commands, 0x50, {data})", {"ms": ms, "commands": SimpleNamespace()})


def test_repeated_reads_go_on_after_a_pulled_cable(tmp_path: Path) -> None:
    bench = BENCH.replace('device = "uno"', 'device = "uno"\non_loss = "continue"')
    bench += '[[faults]]\nat_sec = 1.0\nfor_sec = 0.5\nkind = "unplug"\ntarget = "uno"\n'
    done = run_orders(
        tmp_path,
        "ms.i2c_setup(commands, khz=400)",
        "ms.i2c_read(commands, 0x50, 1, 0x0102, register_bytes=2, continuously=True)",
        "ms.i2c_read(commands, 0x50, 1, 0x0103, register_bytes=2, continuously=True)",
        "ms.i2c_end(commands, 0x50, 0x0103)",
        seconds=4,
        bench=bench,
    )
    assert done.returncode == 0, words(done)
    with recording.open(tmp_path / "out/recording") as found:
        rows = [row for row in found.table("log").rows if row[1] == "i2c"]
    times = [int(row[0]) / 1e6 for row in rows]
    assert {row[3] for row in rows} == {str(0x102)}
    assert any(3.5 < time < 4 for time in times)
    assert not any(1.1 < time < 1.4 for time in times)
