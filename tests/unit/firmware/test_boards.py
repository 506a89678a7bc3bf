"""Each shipped image on its own simulated board: one suite of pins, times, PWM, servos, analog."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import EdgeBlock, Features
from mlink_drivers.firmata.wire.protocol import AnalogValue, Capabilities, StringData
from mlink_drivers.firmware.images import firmware_path
from mlink_hil.board_kinds import KINDS, BoardKind
from mlink_hil.uno import CLOCK_HZ
from tests.support.boards.firmware_chip import Chip

pytest.importorskip("yasimavr")
_USEC = CLOCK_HZ // 1_000_000
_INPUT, _OUTPUT, _ANALOG, _PWM, _SERVO, _, _I2C = range(7)
_SERVO_PINS = {
    "uno": range(2, 14),
    "nano": range(2, 14),
    "mega": range(2, 54),
    "leonardo": range(14),
}
_PWM_PINS = {
    "uno": (3, 5, 6, 9, 10, 11),
    "nano": (3, 5, 6, 9, 10, 11),
    "mega": (*range(2, 14), 44, 45, 46),
    "leonardo": (3, 5, 6, 9, 10, 11, 13),
}


@pytest.fixture(params=list(KINDS.values()), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> BoardKind:
    found: BoardKind = request.param
    return found


@pytest.fixture
def chip(kind: BoardKind) -> Chip:
    return Chip(firmware_path(kind.name), kind)


def _mode(pin: int, mode: int) -> bytes:
    return bytes((0xF4, pin, mode))


def _analog(pin: int, value: int) -> bytes:
    return bytes((0xF0, 0x6F, pin, value & 0x7F, value >> 7, 0xF7))


def _pulses(chip: Chip, pin: int) -> list[tuple[int, int]]:
    """Return (start, width) of each pulse of a pin, in cycles."""
    edges = [(cycle, level) for at, level, cycle in chip.edges if at == pin]
    return [
        (one[0], other[0] - one[0])
        for one, other in itertools.pairwise(edges)
        if one[1] and not other[1]
    ]


def test_each_output_moves_its_own_pin_and_no_other(chip: Chip, kind: BoardKind) -> None:
    for pin in kind.user_pins:
        if kind.is_analog_only(pin):
            continue
        chip.send(_mode(pin, _OUTPUT), run_usec=500)
        chip.edges.clear()
        chip.send(bytes((0xF5, pin, 1)) + bytes((0xF5, pin, 0)), run_usec=500)
        assert [(at, level) for at, level, _ in chip.edges] == [(pin, True), (pin, False)], pin


def test_each_pwm_output_has_its_duty_on_its_pin(chip: Chip, kind: BoardKind) -> None:
    for pin in _PWM_PINS[kind.name]:
        chip.send(_mode(pin, _PWM) + _analog(pin, 64), run_usec=500)
    chip.edges.clear()
    chip.run_usec(50_000)
    for pin in _PWM_PINS[kind.name]:
        pulses = _pulses(chip, pin)[1:]
        starts = [start for start, _ in pulses]
        periods = [b - a for a, b in itertools.pairwise(starts)]
        duty = sum(width for _, width in pulses[: len(periods)]) / sum(periods)
        assert duty == pytest.approx(64 / 255, abs=0.01), pin
        assert 450 < CLOCK_HZ * len(periods) / sum(periods) < 1000, pin


def test_each_analog_input_has_its_own_voltage(chip: Chip, kind: BoardKind) -> None:
    volts = {channel: 0.25 * (channel + 1) for channel in range(len(kind.analog_pins))}
    for channel, pin in enumerate(kind.analog_pins):
        chip.board.set_voltage(pin, volts[channel])
        chip.send(_mode(pin, _ANALOG) + bytes((0xC0 | channel, 1)))
    chip.messages.clear()
    chip.run_usec(100_000)
    readings = {each.channel: each.value for each in chip.messages if isinstance(each, AnalogValue)}
    assert readings == {
        channel: pytest.approx(volt / 5 * 1024, abs=1) for channel, volt in volts.items()
    }


def test_what_is_advertised_is_what_the_board_has(chip: Chip, kind: BoardKind) -> None:
    (answer,) = chip.ask(b"\xf0\x6b\xf7", run_usec=250_000)
    assert isinstance(answer, Capabilities)
    pins_of = {
        mode: {pin for pin, modes in enumerate(answer.pins) if mode in modes} for mode in range(7)
    }
    digital = {pin for pin in kind.user_pins if not kind.is_analog_only(pin)}
    assert pins_of[_INPUT] == pins_of[_OUTPUT] == digital
    assert pins_of[_ANALOG] == set(kind.analog_pins)
    assert pins_of[_PWM] == set(_PWM_PINS[kind.name])
    assert pins_of[_SERVO] == set(_SERVO_PINS[kind.name])
    assert pins_of[_I2C] == set(kind.i2c_pins)


@pytest.mark.parametrize("last_usec", [600, 1500, 2400])
def test_servos_on_all_their_pins_have_pulses_of_their_widths(
    chip: Chip, kind: BoardKind, last_usec: int
) -> None:
    pins = _SERVO_PINS[kind.name]
    widths = {pin: 1500 + (last_usec - 1500) * at // len(pins) for at, pin in enumerate(pins)}
    for pin, usec in widths.items():
        chip.send(_mode(pin, _SERVO) + _analog(pin, usec), run_usec=500)
    chip.run_usec(50_000)
    chip.edges.clear()
    chip.run_usec(100_000)
    for pin, usec in widths.items():
        pulses = _pulses(chip, pin)
        assert len(pulses) >= 4, pin
        for _, width in pulses:
            assert width / _USEC == pytest.approx(usec, abs=8), pin
        for one, other in itertools.pairwise(pulses):
            assert (other[0] - one[0]) / _USEC == pytest.approx(20_000, abs=20), pin


def test_each_line_with_edges_has_their_times(chip: Chip) -> None:
    (features,) = chip.ask(chip_encode.feature_query())
    assert isinstance(features, Features)
    chip.calibrate()
    for pin in sorted(features.edge_pins):
        chip.board.drive(pin, False)
        chip.ask(_mode(pin, _INPUT) + chip_encode.watch_edges({pin: 3}))
        true = []
        for level in (True, False):
            chip.run_usec(377)
            true.append((pin, level, chip.cycle))
            chip.board.drive(pin, level)
        chip.run_usec(20_000)
        blocks = [each for each in chip.take() if isinstance(each, EdgeBlock)]
        edges = [
            (edge.pin, bool(edge.level), edge.ticks) for block in blocks for edge in block.edges
        ]
        assert [edge[:2] for edge in edges] == [edge[:2] for edge in true], pin
        for (_, _, ticks), (_, _, cycle) in zip(edges, true, strict=True):
            assert (chip.cycle_of(ticks) - cycle) / _USEC == pytest.approx(0, abs=8), pin
        chip.ask(chip_encode.watch_edges({pin: 0}))
        chip.board.drive(pin, None)


def test_pulses_have_their_widths(chip: Chip, kind: BoardKind) -> None:
    for pin in (kind.user_pins[0], 7, 13):
        for usec in (100, 1000, 20_000):
            chip.edges.clear()
            chip.send(chip_encode.pulse(pin, 2 * usec), run_usec=usec + 5000)
            ((_, width),) = _pulses(chip, pin)
            assert width / _USEC == pytest.approx(usec, abs=4), (pin, usec)


def test_a_nano_keeps_its_analog_only_pins_analog() -> None:
    chip = Chip(firmware_path("nano"), KINDS["nano"])
    for message in (_mode(20, _OUTPUT), _mode(20, _PWM), chip_encode.pulse(20, 2000)):
        (refused,) = chip.ask(message)
        assert isinstance(refused, StringData)
    chip.send(b"\xf5\x14\x01" + _analog(20, 9) + bytes((0x92, 0x7F, 1)), run_usec=1000)
    chip.board.drive(20, True)
    chip.send(_mode(20, _ANALOG), run_usec=60_000)
    found = [each.value for each in chip.take() if isinstance(each, AnalogValue)]
    assert found[-1] == 1023


_HEADERS = Path("/usr/lib/avr/include/avr")


def _header(chip: str) -> str:
    name = {"atmega328": "iom328p.h", "atmega2560": "iomxx0_1.h", "atmega32u4": "iom32u4.h"}[chip]
    if not (_HEADERS / name).exists():
        pytest.skip("avr-libc is not installed")
    return (_HEADERS / name).read_text()


@pytest.mark.parametrize("chip", ["atmega2560", "atmega32u4"])
def test_interrupts_have_the_numbers_of_the_chips_headers(chip: str) -> None:
    from mlink_hil.sim.boards.avr_chips import vectors_of

    found = dict(re.findall(r"#define (\w+)_vect_num\s+(\d+)", _header(chip)))
    for number, name in enumerate(vectors_of(chip)):
        if name != "RESET" and not name.startswith("NONE"):
            assert int(found.get(name, -1)) in (number, -1), name
    assert set(found) <= set(vectors_of(chip))


@pytest.mark.parametrize("chip", ["atmega328", "atmega2560", "atmega32u4"])
def test_registers_are_at_the_addresses_of_the_chips_headers(chip: str) -> None:
    from mlink_hil.sim.boards.avr_registers import registers_of

    pattern = r"#\s*define\s+(\w+)\s+_SFR_(IO|MEM)(8|16)\s*\(\s*(0[xX]\w+)\s*\)"
    known = {
        (name, size): int(at, 16) + (0x20 if space == "IO" else 0)
        for name, space, size, at in re.findall(pattern, _header(chip))
    }
    single, double = registers_of(chip)
    own = {(name, "8"): at for name, at in single.items()}
    own |= {(name, "16"): at for name, at in double.items()}
    differ = {key: (at, known[key]) for key, at in own.items() if known.get(key, at) != at}
    unknown = {name for name, size in own if (name, size) not in known}
    assert not differ
    assert unknown <= {"RAMPZ", "EIND", "DDRA", "PORTA"}, unknown  # by other macros


def test_an_output_that_is_driven_against_from_outside_stops_no_board(
    chip: Chip, kind: BoardKind
) -> None:
    for pin in _PWM_PINS[kind.name] + (4, 7, 8, 12):
        for level in (False, True):
            chip.send(_mode(pin, _OUTPUT) + bytes((0xF5, pin, level)))
            chip.run_usec(2_000)
            assert chip.board.read(pin).level is level
            chip.board.drive(pin, not level)
            chip.run_usec(100)
            assert chip.board.read(pin).level is not level
            chip.board.drive(pin, None)
