"""Each shipped image on its own simulated board: one suite of pins, times, PWM, servos, analog."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from mlink_drivers.firmata.wire.protocol import AnalogValue
from mlink_drivers.firmware.images import firmware_path
from mlink_hil.board_kinds import KINDS, BoardKind
from mlink_hil.uno import CLOCK_HZ
from tests.support.boards.firmware_chip import Chip

pytest.importorskip("yasimavr")
_USEC = CLOCK_HZ // 1_000_000
_INPUT, _OUTPUT, _ANALOG, _PWM, _SERVO = range(5)
_PWM_PINS = {
    "uno": (3, 5, 6, 9, 10, 11),
    "nano": (3, 5, 6, 9, 10, 11),
    "mega": (*range(2, 14), 44, 45, 46),
    "leonardo": (3, 5, 6, 9, 10, 11, 13),
}


@pytest.fixture(
    params=[KINDS[name] for name in _PWM_PINS if name != "nano"], ids=lambda kind: kind.name
)
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


def test_servos_have_pulses_of_their_widths(chip: Chip) -> None:
    widths = {pin: 1000 + 50 * pin for pin in range(4, 12)}
    for pin, usec in widths.items():
        chip.send(_mode(pin, _SERVO) + _analog(pin, usec), run_usec=1000)
    chip.run_usec(50_000)
    chip.edges.clear()
    chip.run_usec(100_000)
    for pin, usec in widths.items():
        pulses = _pulses(chip, pin)
        assert len(pulses) >= 4, pin
        for _, width in pulses:
            assert width / _USEC == pytest.approx(usec, abs=8), pin


def test_a_nano_has_two_more_analog_inputs() -> None:
    assert KINDS["nano"].port_pins[20:] == ("ADC6", "ADC7")


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
