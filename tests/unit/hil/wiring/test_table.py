"""The `[virtual]` table: valid and invalid tables, their plans, and real devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlink.bench import load_bench
from mlink.cli import app
from mlink.errors import BenchError
from mlink_hil.board_kinds import UNO
from mlink_hil.wiring.layout import lay_out
from mlink_hil.wiring.lights import lights
from mlink_hil.wiring.table import read_parts

HEAD = """
[devices]
uno = "virtual:uno"
eye = "virtual:scene"

[modules.board]
type = "firmata-io"
device = "uno"
"""

GOOD = """
[virtual.light]
type = "led"
line = "uno.8"
scene = "eye"
at = [0.5, 0.5]

[virtual.arm]
type = "servo"
line = "uno.9"
scene = "eye"

[virtual.eye]
type = "scene"
device = "eye"
exposure_usec = 1000
readout_usec = 8000

[virtual.finger]
type = "button"
line = "uno.7"
bounce = { count = 5, longest_usec = 800, seed = 3 }

[virtual.temperature]
type = "sensor"
line = "uno.A0"
waveform = "file"
file = "wave.csv"

[virtual.dut]
type = "chip"
firmware = "dut.hex"
wires = { 2 = "uno.4", A1 = "uno.5" }

[virtual.heater]
type = "model"
source = "heater.py:Heater"
wires = { on = "uno.6", sense = "dut.9" }

[virtual.bridge]
type = "wire"
ends = ["uno.6", "uno.10"]
"""


MODELS = """
from mlink_hil.dut import Dut, I2cDevice


class Heater(Dut):
    pins = ("on", "sense")


class Thermometer(I2cDevice):
    pass
"""


def write_bench(folder: Path, text: str) -> Path:
    (folder / "wave.csv").write_text("sec,volts\n0,1\n1,2\n")
    (folder / "dut.hex").write_text(":00000001FF\n")
    (folder / "heater.py").write_text(MODELS)
    path = folder / "bench.toml"
    path.write_text(HEAD + text)
    return path


def test_a_table_of_all_kinds_of_parts_is_valid(tmp_path: Path) -> None:
    bench = load_bench(write_bench(tmp_path, GOOD))
    parts = read_parts(bench.tables["virtual"])
    assert [type(part).__name__ for part in parts.values()] == [
        "Led", "Servo", "Scene", "Button", "Sensor", "Chip", "Model", "Wire",
    ]  # fmt: skip


def test_the_parts_become_plans_of_what_is_wired(tmp_path: Path) -> None:
    parts = read_parts(load_bench(write_bench(tmp_path, GOOD)).tables["virtual"])
    layout = lay_out(parts, {"uno": UNO}, ["eye"], work_dir=Path("/run/x"), bench_dir=tmp_path)
    assert not layout.notes
    assert layout.wired_boards == ["uno"]
    assert [board.name for board in layout.circuit.boards] == ["dut"]  # boards are added later
    assert {frozenset(net) for net in layout.circuit.nets} == {
        frozenset({("dut", "2"), ("uno", "4")}),
        frozenset({("dut", "15"), ("uno", "5")}),
        frozenset({("dut", "9"), ("heater", "sense")}),
        frozenset({("heater", "on"), ("uno", "6"), ("uno", "10")}),  # two wires at one line
    }
    assert layout.circuit.sensors[0].points == [(0, 1), (1, 2)]
    assert layout.circuit.contacts[0].level is False
    scene = layout.scenes["eye"]
    assert (scene.exposure_usec, scene.readout_usec) == (1000, 8000)
    assert [item.control for item in scene.items] == ["/run/x/uno.sock"] * 2


LATE = """
[virtual.late]
type = "wire"
ends = ["uno.4", "uno.10"]
delay_usec = 250
"""


def test_a_wire_with_a_delay_lies_between_two_nets(tmp_path: Path) -> None:
    parts = read_parts(load_bench(write_bench(tmp_path, LATE)).tables["virtual"])
    layout = lay_out(parts, {"uno": UNO}, [], work_dir=tmp_path, bench_dir=tmp_path)
    assert layout.wired_boards == ["uno"]
    assert layout.circuit.nets == [[("uno", "4")], [("uno", "10")]]
    (delay,) = layout.circuit.delays
    assert (delay.ends, delay.delay_usec) == ((("uno", "4"), ("uno", "10")), 250)


def test_a_wire_of_a_chip_can_have_a_delay_of_its_own(tmp_path: Path) -> None:
    text = (
        "[virtual.c]\ntype = 'chip'\nfirmware = 'dut.hex'\nwires = { 2 = 'uno.4', 3 = 'uno.5' }\n"
    )
    text += "delays_usec = { 3 = 7.5 }\nclock_ppm = 30\nphase_usec = 400\n"
    parts = read_parts(load_bench(write_bench(tmp_path, text)).tables["virtual"])
    circuit = lay_out(parts, {"uno": UNO}, [], work_dir=tmp_path, bench_dir=tmp_path).circuit
    assert circuit.nets == [[("c", "2"), ("uno", "4")], [("c", "3")], [("uno", "5")]]
    (delay,) = circuit.delays
    assert (delay.ends, delay.delay_usec) == ((("c", "3"), ("uno", "5")), 7.5)
    assert (circuit.boards[0].clock_ppm, circuit.boards[0].phase_usec) == (30, 400)


@pytest.mark.parametrize(
    "other",
    [
        "[virtual.b]\ntype = 'wire'\nends = ['uno.10', 'uno.4']",
        "[virtual.b]\ntype = 'wire'\nends = ['uno.10', 'uno.4']\ndelay_usec = 5",
        "[virtual.c]\ntype = 'chip'\nfirmware = 'dut.hex'\nwires = { 2 = 'uno.4' }\n"
        "[virtual.b]\ntype = 'wire'\nends = ['c.2', 'uno.10']",
        "[virtual.c]\ntype = 'chip'\nfirmware = 'dut.hex'\n"
        "wires = { 2 = 'uno.4', 3 = 'uno.10' }\ndelays_usec = { 2 = 1 }\n"
        "[virtual.b]\ntype = 'wire'\nends = ['c.2', 'c.3']",
    ],
)
def test_a_delayed_wire_in_a_ring_is_refused(other: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="are already connected without this wire"):
        load_bench(write_bench(tmp_path, f"{LATE}{other}\n"))


def test_parts_at_real_devices_are_left_out_with_a_note(tmp_path: Path) -> None:
    parts = read_parts(load_bench(write_bench(tmp_path, GOOD)).tables["virtual"])
    layout = lay_out(parts, {}, ["eye"], work_dir=tmp_path, bench_dir=tmp_path)
    assert list(layout.scenes) == ["eye"]
    assert not layout.scenes["eye"].items
    assert not layout.circuit.boards
    assert len(layout.notes) == 7
    assert "[virtual.light] is not used: 'uno' is not a simulated board of this run" in layout.notes


def check(path: Path, *arguments: str) -> dict[str, str]:
    """Return what `mlink check` prints about each part, by name, with single spaces."""
    result = CliRunner().invoke(app, ["check", str(path), *arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    lines = result.stdout.partition("virtual part")[2].splitlines()[1:]
    parts: dict[str, str] = {}
    for line in lines:
        if not line.startswith(" "):
            name = line.split()[0]
            parts[name] = ""
        parts[name] = " ".join(f"{parts[name]} {line.removeprefix(name)}".split())
    return parts


ALL = HEAD + '[modules.cam]\ntype = "camera-generic"\ndevice = "eye"\n'


THERMOMETER = """
[virtual.thermometer]
type = "model"
source = "heater.py:Thermometer"
i2c = "uno"
address = 0x48
"""


def test_a_device_on_the_i2c_bus_needs_no_wire(tmp_path: Path) -> None:
    path = write_bench(tmp_path, THERMOMETER)
    parts = read_parts(load_bench(path).tables["virtual"])
    layout = lay_out(parts, {"uno": UNO}, [], work_dir=Path("/run/x"), bench_dir=tmp_path)
    (model,) = layout.circuit.models
    assert (model.i2c, model.address, layout.wired_boards) == ("uno", 0x48, ["uno"])
    layout = lay_out(parts, {}, ["eye"], work_dir=Path("/run/x"), bench_dir=tmp_path)
    assert layout.notes == [
        "[virtual.thermometer] is not used: 'uno' is not a simulated board of this run"
    ]
    shown = CliRunner().invoke(app, ["check", str(path)])
    assert "I2C – uno" in shown.output
    assert "heater.py:Thermometer, 0x48" in shown.output


def test_check_lists_the_parts_with_what_they_are_wired_to(tmp_path: Path) -> None:
    path = write_bench(tmp_path, GOOD)
    path.write_text(ALL + GOOD)
    assert check(path) == {
        "light": "led uno.8 → eye red",
        "arm": "servo uno.9 → eye",
        "eye": "scene eye exposes 1000 µs, read out in 8000 µs",
        "finger": "button uno.7 to ground, bounces",
        "temperature": "sensor uno.A0 wave.csv",
        "dut": "chip 2 – uno.4 dut.hex A1 – uno.5",
        "heater": "model on – uno.6 heater.py:Heater sense – dut.9",
        "bridge": "wire uno.6 – uno.10",
    }


def test_check_lists_the_parts_that_the_devices_leave_out(tmp_path: Path) -> None:
    path = write_bench(tmp_path, GOOD)
    path.write_text(ALL + GOOD)
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\nuno = "/dev/ttyACM0"\neye = "virtual:scene"\n')
    parts = check(path, "--devices", str(lab))
    assert parts["light"] == "led uno.8 → eye not used: 'uno' is not a simulated board of this run"
    assert "not used" not in parts["eye"]


def test_a_part_that_is_left_out_does_not_take_a_board_of_its_name_along(tmp_path: Path) -> None:
    text = "[virtual.uno]\ntype = 'led'\nline = 'uno.8'\nscene = 'eye'\n"
    text += "[virtual.finger]\ntype = 'button'\nline = 'uno.7'\n"
    parts = read_parts(load_bench(write_bench(tmp_path, text)).tables["virtual"])
    layout = lay_out(parts, {"uno": UNO}, [], work_dir=tmp_path, bench_dir=tmp_path)
    assert len(layout.notes) == 1
    assert [contact.board for contact in layout.circuit.contacts] == ["uno"]


def test_the_same_bench_is_good_with_real_devices(tmp_path: Path) -> None:
    path = write_bench(tmp_path, GOOD)
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\nuno = "/dev/ttyACM0"\neye = "/dev/video0"\n')
    bench = load_bench(path, devices=lab)
    assert bench.device_spec("uno") == "/dev/ttyACM0"
    assert not lights(bench)


def test_a_setting_of_a_part_is_replaced_by_set(tmp_path: Path) -> None:
    bench = load_bench(write_bench(tmp_path, GOOD), overrides=["virtual.eye.readout_usec=0"])
    assert bench.tables["virtual"]["eye"]["readout_usec"] == 0


def test_lights_are_found_with_their_place(tmp_path: Path) -> None:
    (light,) = lights(load_bench(write_bench(tmp_path, GOOD)))
    assert (light.scene, light.line) == ("eye", "uno.8")
    assert light.area(640, 480) == (307, 227, 26, 26)


WRONG = {
    "[virtual.light]\ntype = 'led'\nlien = 'uno.8'\nscene = 'eye'": "Did you mean 'line'",
    "[virtual.light]\ntype = 'let'\nline = 'uno.8'": "Did you mean 'led'",
    "[virtual.light]\ntyp = 'led'": "Did you mean 'type'",
    "[virtual.light]\ntype = 'led'\nline = 'uno.8'\nscene = 'ey'": "Did you mean 'eye'",
    "[virtual.light]\ntype = 'led'\nline = 'unu.8'\nscene = 'eye'": "Did you mean 'uno'",
    "[virtual.light]\ntype = 'led'\nline = 'uno.1'\nscene = 'eye'": "serial line",
    "[virtual.light]\ntype = 'led'\nline = 'uno.20'\nscene = 'eye'": "an Uno has no pin '20'",
    "[virtual.light]\ntype = 'led'\nline = 'eight'\nscene = 'eye'": "is not a line",
    "[virtual.light]\ntype = 'led'\nline = 'eye.8'\nscene = 'eye'": "is a scene",
    "[virtual.light]\ntype = 'led'\nline = 'uno.8'\nscene = 'uno'": "is not a scene",
    "[virtual.light]\ntype = 'led'\nline = 'uno.8'\nscene = 'eye'\nat = [2, 0]": "are 0 to 1",
    "[virtual.light]\ntype = 'led'\nline = 'uno.8'\nscene = 'eye'\ncolor = 'mauve'": "mauve",
    "[virtual.p]\ntype = 'board'\ndevice = 'unno'": "Did you mean 'uno'",
    "[virtual.p]\ntype = 'board'\ndevice = 'uno.7'": "Did you mean 'uno'",
    "[virtual.p]\ntype = 'board'\ndevice = ''": "'' is not in the [devices] table",
    "[virtual.p]\ntype = 'board'\ndevice = 'eye'": "Known simulated boards: uno.",
    "[virtual.p]\ntype = 'board'\ndevice = 3": "docs/hil.md lists the settings",
    "[virtual.p]\ntype = 'board'": "'device' is missing",
    "[virtual.p]\ntype = 'board'\ndevice = 'uno'\nadapter = 'ftdy'": "Did you mean 'ftdi'",
    "[virtual.p]\ntype = 'board'\ndevice = 'uno'\nadapter = 'x'": "Known values: ftdi, none, usb.",
    "[virtual.p]\ntype = 'board'\ndevice = 'uno'\nadaptor = 'usb'": "Did you mean 'adapter'",
    "[virtual.s]\ntype = 'scene'\ndevice = ''": "'' is not in the [devices] table",
    "[virtual.b]\ntype = 'button'\nline = 'uno.7'\nbounce = { cuont = 3 }": "Did you mean 'count'",
    "[virtual.b]\ntype = 'button'\nline = 'uno.7'\nbounce = { pattern_usec = [1] }": "even number",
    "[virtual.s]\ntype = 'sensor'\nline = 'uno.7'": "is not an analog input",
    "[virtual.s]\ntype = 'sensor'\nline = 'uno.A0'\nhigh_volt = 7": "must hold",
    "[virtual.s]\ntype = 'sensor'\nline = 'uno.A0'\nwaveform = 'file'": "and that needs a file",
    "[virtual.c]\ntype = 'chip'\nfirmware = 'no.hex'\nwires = { 2 = 'uno.4' }": "there is no file",
    "[virtual.c]\ntype = 'chip'\nfirmware = 'dut.hex'\nwires = { 0 = 'uno.4' }": "serial line",
    "[virtual.c]\ntype = 'chip'\nfirmware = 'dut.hex'\nwires = {}": "nothing is wired",
    "[virtual.uno]\ntype = 'chip'\nfirmware = 'dut.hex'\nwires = { 2 = 'uno.4' }": "has this name",
    "[virtual.m]\ntype = 'model'\nsource = 'heater'\nwires = { a = 'uno.4' }": "file.py:ClassName",
    "[virtual.m]\ntype = 'model'\nsource = 'heater.py:H'": "nothing is wired",
    "[virtual.m]\ntype = 'model'\nsource = 'heater.py:H'\ni2c = 'unno'": "Did you mean 'uno'",
    "[virtual.m]\ntype = 'model'\nsource = 'heater.py:H'\ni2c = 'eye'": "is a scene, not a board",
    "[virtual.m]\ntype = 'model'\nsource = 'heater.py:H'\ni2c = 'uno'\naddress = 0x78": "0x77",
    "[virtual.m]\ntype = 'model'\nsource = 'heater.py:H'\naddress = 0x48": "on no I2C bus",
    "[virtual.w]\ntype = 'wire'\nends = ['uno.4']": "two ends",
    "[virtual.w]\ntype = 'wire'\nends = ['uno.4', 'uno.5']\ndelay_usec = -1": "0 to 1 s",
    "[virtual.w]\ntype = 'wire'\nends = ['uno.4', 'uno.5', 'uno.6']\ndelay_usec = 9": "two ends",
    "[virtual]\nlight = 3": "is not a table",
    "[virtul.light]\ntype = 'led'": "Did you mean 'virtual'",
}


@pytest.mark.parametrize("text", WRONG)
def test_an_error_is_reported_with_its_place_and_a_remedy(text: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        load_bench(write_bench(tmp_path, text))
    assert WRONG[text] in str(caught.value)
    assert "virtu" in str(caught.value)


def test_a_mistake_in_a_chip_brings_no_follow_on_problems(tmp_path: Path) -> None:
    text = GOOD.replace('firmware = "dut.hex"', 'firmwar = "dut.hex"')
    with pytest.raises(BenchError) as caught:
        load_bench(write_bench(tmp_path, text))
    assert "heater" not in str(caught.value)
    assert "Did you mean 'firmware'" in str(caught.value)


@pytest.mark.parametrize(("kind", "device"), [("board", "uno"), ("scene", "eye")])
def test_a_device_is_described_once(kind: str, device: str, tmp_path: Path) -> None:
    text = "".join(f"[virtual.{name}]\ntype = '{kind}'\ndevice = '{device}'\n" for name in "ab")
    with pytest.raises(BenchError) as caught:
        load_bench(write_bench(tmp_path, text))
    assert f"[virtual.b] device: the part 'a' already describes this {kind}" in str(caught.value)
    assert "Remove one of the two parts." in str(caught.value)


def test_the_part_of_a_board_that_is_not_simulated_is_not_used(tmp_path: Path) -> None:
    text = "[virtual.p]\ntype = 'board'\ndevice = 'uno'\nadapter = 'usb'\n"
    path = write_bench(tmp_path, text)
    path.write_text(path.read_text().replace('"virtual:uno"', '"/dev/ttyACM0"'))
    shown = CliRunner().invoke(app, ["check", str(path)])
    assert "not used: 'uno' is not a simulated board of this run" in shown.stdout


def test_two_parts_cannot_have_one_analog_line(tmp_path: Path) -> None:
    text = "[virtual.a]\ntype = 'sensor'\nline = 'uno.A0'\n"
    text += "[virtual.b]\ntype = 'button'\nline = 'uno.14'"
    with pytest.raises(BenchError, match="is already used by the part 'a'"):
        load_bench(write_bench(tmp_path, text))


def test_a_sensor_cannot_be_on_a_line_of_an_i2c_bus_that_is_used(tmp_path: Path) -> None:
    text = THERMOMETER + "[virtual.knob]\ntype = 'sensor'\nline = 'uno.A4'\n"
    with pytest.raises(BenchError, match="already used by the part 'thermometer'"):
        load_bench(write_bench(tmp_path, text))
