"""Our firmware as a standard Firmata board, on the simulated chip."""

from collections.abc import Iterator

import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import Features
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import (
    AnalogMapping,
    AnalogValue,
    Capabilities,
    DigitalPort,
    Firmware,
    I2CMode,
    PinMode,
    PinState,
    ProtocolVersion,
    StringData,
)
from tests.support.boards.firmware_chip import CYCLES_PER_USEC, Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim


@pytest.fixture
def chip() -> Iterator[Chip]:
    chip = Chip()
    yield chip
    chip.board.close()


def duty(chip: Chip, pin: int, usec: int = 50_000) -> float:
    """The share of time that a pin is high."""
    chip.take_edges(pin)
    chip.run_usec(usec)
    edges = chip.take_edges(pin)
    rises = [at for at, (level, _) in enumerate(edges) if level][:-1]
    high = sum(edges[at + 1][1] - edges[at][1] for at in rises)
    return high / (edges[rises[-1] + 2][1] - edges[rises[0]][1])


def texts(chip: Chip, data: bytes, run_usec: int = 50_000) -> list[str]:
    return [
        message.text
        for message in chip.ask(data, run_usec=run_usec)
        if isinstance(message, StringData)
    ]


def test_it_greets_and_answers_who_it_is(chip: Chip) -> None:
    who = [ProtocolVersion, Firmware]
    assert [type(message) for message in chip.take()] == who
    answers = chip.ask(encode.protocol_version_query() + encode.firmware_query())
    assert [type(message) for message in answers] == who
    assert isinstance(answers[0], ProtocolVersion)
    assert (answers[0].major, answers[0].minor) == (2, 6)
    assert isinstance(answers[1], Firmware)
    assert answers[1].name == "mlink_firmata uno"


def test_capabilities_are_those_of_standard_firmata(chip: Chip) -> None:
    (capabilities,) = chip.ask(encode.capability_query(), run_usec=150_000)
    (mapping,) = chip.ask(encode.analog_mapping_query())
    assert isinstance(capabilities, Capabilities)
    assert isinstance(mapping, AnalogMapping)
    pins = capabilities.pins
    assert len(pins) == 20
    assert pins[0] == pins[1] == {}
    assert [pin for pin, modes in enumerate(pins) if PinMode.PWM in modes] == [3, 5, 6, 9, 10, 11]
    assert [pin for pin, modes in enumerate(pins) if PinMode.SERVO in modes] == list(range(2, 14))
    assert [pin for pin, modes in enumerate(pins) if PinMode.I2C in modes] == [18, 19]
    assert mapping.channels == (None,) * 14 + (0, 1, 2, 3, 4, 5)


def test_digital_output_by_pin_and_by_port(chip: Chip) -> None:
    chip.send(encode.pin_mode(13, 1) + encode.digital_pin(13, True), run_usec=1000)
    assert chip.board.read(13).level
    chip.send(encode.pin_mode(8, 1) + encode.digital_port(1, 1), run_usec=1000)
    assert chip.board.read(8).level
    assert not chip.board.read(13).level
    (state,) = chip.ask(encode.pin_state_query(8))
    assert isinstance(state, PinState)
    assert (state.mode, state.value) == (PinMode.OUTPUT, 1)


def test_an_output_that_was_not_set_up_does_not_drive(chip: Chip) -> None:
    assert not chip.board.read(9).output
    chip.send(encode.digital_port(1, 1), run_usec=1000)  # 8 high, the others as they are
    assert chip.board.read(8).output
    assert not chip.board.read(9).output


def test_digital_inputs_report_their_state_and_every_change(chip: Chip) -> None:
    chip.board.drive(7, True)
    setup = encode.pin_mode(7, 0) + encode.pin_mode(4, 11) + encode.report_digital(0, True)
    (first,) = chip.ask(setup)
    assert isinstance(first, DigitalPort)
    assert (first.port, first.mask) == (0, 0x90)  # 4 by its pull-up
    begin = chip.cycle
    chip.board.drive(7, False)
    chip.run_usec(3000)
    (changed,) = chip.messages
    assert isinstance(changed, DigitalPort)
    assert changed.mask == 0x10
    assert (chip.arrivals[-1] - begin) / CYCLES_PER_USEC < 800  # three bytes take 525 µs


def test_analog_inputs_at_the_sampling_interval(chip: Chip) -> None:
    chip.board.set_voltage(14, 2.5)
    chip.send(encode.sampling_interval(10) + encode.report_analog(0, True), run_usec=100_000)
    samples = [message for message in chip.take() if isinstance(message, AnalogValue)]
    assert 10 <= len(samples) <= 12
    assert all(abs(sample.value - 512) <= 2 for sample in samples)
    chip.send(encode.report_analog(0, False), run_usec=30_000)
    chip.take()
    chip.run_usec(50_000)
    assert chip.take() == []


def test_mode_analog_asks_for_samples_as_in_standard_firmata(chip: Chip) -> None:
    chip.send(encode.pin_mode(15, PinMode.ANALOG), run_usec=60_000)
    samples = chip.take()
    assert samples
    assert {m.channel for m in samples if isinstance(m, AnalogValue)} == {1}
    chip.send(encode.pin_mode(15, PinMode.INPUT), run_usec=60_000)
    chip.take()
    chip.send(encode.pin_mode(15, PinMode.OUTPUT), run_usec=60_000)
    assert chip.take() == []


@pytest.mark.parametrize("pin", [9, 10])
def test_pwm_by_the_scheduler(chip: Chip, pin: int) -> None:
    chip.send(encode.pin_mode(pin, 3) + encode.extended_analog(pin, 64), run_usec=10_000)
    assert abs(duty(chip, pin) - 64 / 255) < 0.01
    chip.send(encode.extended_analog(pin, 200), run_usec=10_000)
    assert abs(duty(chip, pin) - 200 / 255) < 0.01
    chip.send(encode.extended_analog(pin, 255), run_usec=10_000)
    assert chip.board.read(pin).level
    chip.send(encode.extended_analog(pin, 0), run_usec=10_000)
    assert not chip.board.read(pin).level


@pytest.mark.parametrize(
    ("pin", "control", "bit", "compare"),
    [(3, 0x90, 5, 0x94), (5, 0x24, 5, 0x28), (6, 0x24, 7, 0x27), (11, 0x90, 7, 0x93)],
)
def test_pwm_by_a_timer(chip: Chip, pin: int, control: int, bit: int, compare: int) -> None:
    """By the timers' registers: the board's wires hide what a timer does to its pin."""
    import yasimavr.lib.core as core

    registers = core.DeviceDebugProbe(chip.board._device)
    chip.send(encode.pin_mode(pin, 3) + encode.extended_analog(pin, 64), run_usec=10_000)
    assert registers.read_ioreg(control) >> bit & 1
    assert registers.read_ioreg(compare) == 64
    chip.send(encode.extended_analog(pin, 255), run_usec=10_000)
    assert not registers.read_ioreg(control) >> bit & 1
    assert chip.board.read(pin).level


def test_servos_get_their_pulses_every_20_ms(chip: Chip) -> None:
    for pin, angle in ((9, 0), (10, 180), (2, 90)):
        chip.send(encode.pin_mode(pin, 4) + encode.extended_analog(pin, angle))
    chip.run_usec(50_000)
    chip.edges.clear()
    chip.run_usec(100_000)
    for pin, usec in ((9, 544), (10, 2400), (2, 1472)):
        edges = [(level, cycle) for which, level, cycle in chip.edges if which == pin]
        edges = edges[0 if edges[0][0] else 1 :]
        widths = [b[1] - a[1] for a, b in zip(edges[::2], edges[1::2], strict=False)]
        assert all(abs(width / CYCLES_PER_USEC - usec) < 10 for width in widths)
        periods = [b[1] - a[1] for a, b in zip(edges[::2], edges[2::2], strict=False)]
        assert all(abs(period / CYCLES_PER_USEC - 20_000) < 200 for period in periods)


def test_reset_stops_everything(chip: Chip) -> None:
    chip.send(
        encode.pin_mode(7, 0) + encode.report_digital(0, True) + encode.report_analog(0, True)
    )
    chip.send(chip_encode.train(8, 2000, 2000) + encode.pin_mode(9, 4) + encode.analog(9, 90))
    chip.send(encode.system_reset(), run_usec=50_000)
    chip.take()
    chip.edges.clear()
    chip.board.drive(7, True)
    chip.run_usec(50_000)
    assert chip.take() == []
    assert [edge for edge in chip.edges if edge[0] != 7] == []


def test_i2c_without_a_device_is_reported_and_does_not_block(chip: Chip) -> None:
    request = encode.i2c_request(0x42, I2CMode.READ_ONCE, bytes((4, 6)))
    assert texts(chip, request) == ["mlink: I2C: not configured"]
    assert texts(chip, encode.i2c_config() + request) == ["I2C: Too few bytes received"]
    assert chip.ask(encode.protocol_version_query())


def test_a_pin_of_the_bus_that_gets_another_task_ends_the_bus(chip: Chip) -> None:
    request = encode.i2c_request(0x42, I2CMode.READ_ONCE, bytes((4, 6)))
    chip.send(encode.i2c_config() + chip_encode.train(19, 2000, 2000, 5), run_usec=20_000)
    assert texts(chip, request) == ["mlink: I2C: not configured"]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"\xf0\x02\x00\x07\xf7", "edges: wrong length or kind"),
        (b"\xf0\x02\x00\x00\x03\xf7", "edges: pin without them"),
        (b"\xf0\x04\x03\x08\x00\xf7", "pulses: wrong length"),
        (b"\xf0\x04\x03\x63\x00\x10\xf7", "pulses: no such output"),
        (b"\xf0\x06\x00\x00\x07\xf7", "reflexes: wrong length"),
        (b"\xf0\x07\x00\xf7", "safe state: wrong length"),
        (b"\xf0\x08\x07\xf7", "baud: wrong kind"),
        (b"\xf0\x01\x6d\xf7", "features: not ours"),
        (
            b"\xf0\x04\x00\x08\x00" + b"\0\0\0\0\x10" + bytes(13) + b"\xf7",
            "pulses: wrong length or kind",
        ),
        (b"\xf0\x6b\x00\xf7", "capabilities: wrong length"),
        (b"\xf0\x69\x00\xf7", "analog mapping: wrong length"),
        (b"\xf0\x79\x00\xf7", "firmware: wrong length"),
        (b"\xf0\x6d\x63\xf7", "pin state: no such pin"),
        (b"\xf0\x6f\x08\xf7", "extended analog: wrong length or pin"),
        (b"\xf0\x70\x08\x00\xf7", "servo: no such pin or pulse"),
        (b"\xf0\x76\x42\x00\x01\xf7", "I2C: wrong length"),
        (b"\xf0\x78\x00\xf7", "I2C: wrong length"),
        (b"\xf0\x7a\x00\xf7", "sampling interval: wrong"),
        (b"\xf0\xf7", "empty sysex"),
        (b"\xf0\x04\x03\x08\x00\x90\x00\x00", "sysex cut short"),
        (b"\xf0\x04" + bytes(80) + b"\xf7", "sysex too long"),
    ],
)
def test_a_malformed_sysex_is_answered_and_changes_nothing(
    chip: Chip, message: bytes, complaint: str
) -> None:
    chip.edges.clear()
    assert texts(chip, message) == [f"mlink: {complaint}"]
    assert chip.edges == []
    assert chip.ask(encode.protocol_version_query())


def test_the_feature_query_returns_the_features_of_the_board(chip: Chip) -> None:
    (features,) = chip.ask(chip_encode.feature_query(), run_usec=60_000)
    assert isinstance(features, Features)
    assert features.tick_hz == 2_000_000
    assert features.highest_baud == 1_000_000
    assert features.edge_pins == features.output_pins == frozenset(range(2, 20))
