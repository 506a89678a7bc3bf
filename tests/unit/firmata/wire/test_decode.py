"""The Firmata codec: what each message is, and that nothing on the line can upset it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.decode import Decoder
from mlink_drivers.firmata.wire.protocol import (
    AnalogMapping,
    AnalogValue,
    Capabilities,
    DigitalPin,
    DigitalPort,
    ExtendedAnalog,
    Firmware,
    I2CMode,
    I2CReply,
    Oversized,
    PinState,
    ProtocolVersion,
    StringData,
    Sysex,
    SysexId,
)
from tests.support.boards.scripted_board import capability_reply, firmware_reply, sysex


def decode(data: bytes):
    return Decoder().feed(data)


def string_data(text: str) -> bytes:
    return encode.sysex(SysexId.STRING_DATA, encode.to_seven_bits(text.encode()))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x91\x05\x01", DigitalPort(1, 0x85, 0, 3)),
        (b"\xe3\x7f\x07", AnalogValue(3, 1023, 0, 3)),
        (b"\xf5\x0d\x01", DigitalPin(13, 1, 0, 3)),
        (b"\xf9\x02\x05", ProtocolVersion(2, 5, offset=0, length=3)),
        (b"\xf0\x79\x02\x05\x41\x00\x62\x00\xf7", Firmware("Ab", 2, 5, offset=0, length=9)),
        (b"\xf0\x6a\x7f\x00\x01\xf7", AnalogMapping((None, 0, 1), offset=0, length=6)),
        (b"\xf0\x6e\x03\x03\x7f\x01\xf7", PinState(3, 3, 255, offset=0, length=7)),
        (b"\xf0\x6f\x16\x00\x01\xf7", ExtendedAnalog(22, 128, offset=0, length=6)),
        (b"\xf0\x71\x68\x00\x69\x00\xf7", StringData("hi", offset=0, length=7)),
        (
            b"\xf0\x77\x48\x00\x05\x00\x7f\x01\xf7",
            I2CReply(0x48, 5, b"\xff", offset=0, length=9),
        ),
        (b"\xf0\x01\x10\x20\xf7", Sysex(1, b"\x10\x20", offset=0, length=5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_message_of_the_protocol_is_decoded(data, message):
    assert decode(data) == [message]


@pytest.mark.parametrize(
    ("made", "data"),
    [
        (encode.protocol_version_query(), b"\xf9"),
        (encode.firmware_query(), b"\xf0\x79\xf7"),
        (encode.capability_query(), b"\xf0\x6b\xf7"),
        (encode.analog_mapping_query(), b"\xf0\x69\xf7"),
        (encode.pin_state_query(5), b"\xf0\x6d\x05\xf7"),
        (encode.system_reset(), b"\xff"),
        (encode.pin_mode(13, 1), b"\xf4\x0d\x01"),
        (encode.digital_pin(13, True), b"\xf5\x0d\x01"),
        (encode.digital_port(1, 0x85), b"\x91\x05\x01"),
        (encode.report_digital(2, True), b"\xd2\x01"),
        (encode.report_analog(3, False), b"\xc3\x00"),
        (encode.report_analog(16, True), b"\xf0\x64\x10\x01\xf7"),
        (encode.analog(9, 200), b"\xe9\x48\x01"),
        (encode.analog(22, 90), b"\xf0\x6f\x16\x5a\x00\xf7"),
        (encode.analog(9, 1 << 14), b"\xf0\x6f\x09\x00\x00\x01\xf7"),
        (encode.sampling_interval(500), b"\xf0\x7a\x74\x03\xf7"),
        (encode.servo_config(9, 544, 2400), b"\xf0\x70\x09\x20\x04\x60\x12\xf7"),
        (string_data("é"), b"\xf0\x71\x43\x01\x29\x01\xf7"),
        (encode.i2c_config(), b"\xf0\x78\x00\x00\xf7"),
        (encode.i2c_request(0x48, I2CMode.READ_ONCE, b"\x05"), b"\xf0\x76\x48\x08\x05\x00\xf7"),
    ],
)
def test_each_message_to_the_board_has_the_bytes_of_the_protocol(made, data):
    assert made == data


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode.digital_port(16, 0),
        lambda: encode.digital_port(0, 1 << 14),
        lambda: encode.pin_mode(128, 0),
        lambda: encode.analog(3, -1),
        lambda: encode.sampling_interval(0),
        lambda: encode.sampling_interval(1 << 14),
        lambda: encode.sysex(0x80),
        lambda: encode.sysex(1, b"\x80"),
    ],
)
def test_what_a_message_cannot_hold_is_refused(make):
    with pytest.raises(ValueError):
        make()


@given(port=st.integers(0, 15), mask=st.integers(0, 255))
def test_a_port_goes_round(port, mask):
    assert decode(encode.digital_port(port, mask)) == [DigitalPort(port, mask)]


@given(pin=st.integers(0, 127), value=st.integers(0, 1 << 40))
def test_an_analog_value_of_any_width_goes_round(pin, value):
    (message,) = decode(encode.extended_analog(pin, value))
    assert (message.pin, message.value) == (pin, value)


@given(st.text())
def test_any_text_goes_round(text):
    (message,) = decode(string_data(text))
    assert message.text == text


modes = st.dictionaries(st.integers(0, 0x7E), st.integers(0, 0x7E))


@given(st.lists(modes, max_size=70))
def test_capabilities_of_any_modes_in_any_order_and_resolution_are_read(pins):
    (message,) = Decoder(1 << 20).feed(capability_reply(pins))
    assert message.pins == tuple(pins)


@given(st.binary(max_size=200).map(lambda data: bytes(byte & 0x7F for byte in data)))
def test_a_capability_reply_of_random_bytes_is_read_without_complaint(payload):
    (message,) = decode(sysex(0x6C, payload))
    assert isinstance(message, Capabilities)


valid = st.one_of(
    st.builds(encode.digital_port, st.integers(0, 15), st.integers(0, 255)),
    st.builds(
        lambda n, v: bytes((0xE0 | n, v & 127, v >> 7)), st.integers(0, 15), st.integers(0, 1023)
    ),
    st.builds(string_data, st.text(max_size=8)),
    st.just(b"\xf9\x02\x05"),
    st.just(firmware_reply("Test")),
)
streams = st.lists(st.one_of(valid, st.binary(max_size=12)), max_size=30).map(b"".join)


@given(st.binary(max_size=400))
def test_random_bytes_never_raise_and_every_byte_is_accounted_for(data):
    decoder = Decoder(64)
    messages = decoder.feed(data)
    used = sum(message.length for message in messages)
    assert used + decoder.dropped_bytes + len(decoder._pending) == len(data)


@given(streams, st.lists(st.integers(1, 20), max_size=100))
def test_chunking_changes_nothing(data, sizes):
    whole, pieces = Decoder(16), Decoder(16)
    expected = whole.feed(data)
    got = []
    start = 0
    for size in [*sizes, len(data)]:
        chunk = data[start : start + size]
        got += [(start + message.offset, message) for message in pieces.feed(chunk)]
        start += len(chunk)
    assert [place for place, _ in got] == [message.offset for message in expected]
    assert [_bare(message) for _, message in got] == [_bare(message) for message in expected]
    assert pieces.dropped_bytes == whole.dropped_bytes
    assert pieces.oversized == whole.oversized


def _bare(message):
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return type(message), {name: value for name, value in fields.items() if name != "offset"}


@given(st.binary(max_size=40))
def test_it_resynchronises_after_any_garbage(garbage):
    decoder = Decoder(1 << 20)
    decoder.feed(garbage)
    assert decoder.feed(b"\xf9\x02\x05\x91\x01\x00")[-1] == DigitalPort(1, 1, 3, 3)


def test_the_offset_of_a_message_split_over_chunks_is_that_of_its_first_byte():
    decoder = Decoder()
    assert decoder.feed(b"\x00\xe1\x05") == []
    assert decoder.feed(b"\x03\x90\x01\x00") == [
        AnalogValue(1, 389, -2, 3),
        DigitalPort(0, 1, 1, 3),
    ]


def test_a_command_byte_ends_a_broken_message():
    decoder = Decoder()
    assert decoder.feed(b"\xe1\x05\x90\x01\x00") == [DigitalPort(0, 1, 2, 3)]
    assert decoder.dropped_bytes == 2


def test_a_truncated_sysex_gives_way_to_the_next_message():
    decoder = Decoder()
    assert decoder.feed(b"\xf0\x79\x02\x90\x01\x00") == [DigitalPort(0, 1, 3, 3)]
    assert decoder.dropped_bytes == 3


def test_an_oversized_sysex_is_dropped_and_counted():
    decoder = Decoder(32)
    assert decoder.feed(b"\xf0\x71" + b"\x01" * 100) == [Oversized(offset=0, length=0)]
    assert decoder.feed(b"\x01" * 50 + b"\xf7\x90\x01\x00") == [DigitalPort(0, 1, 51, 3)]
    assert decoder.oversized == 1
    assert decoder.dropped_bytes == 153
    assert len(decoder._pending) == 0


def test_a_known_sysex_of_a_wrong_format_is_handed_through_raw():
    assert decode(b"\xf0\x6e\x03\xf7") == [Sysex(0x6E, b"\x03", offset=0, length=4)]


def test_a_sysex_that_somebody_wants_raw_is_not_decoded():
    decoder = Decoder()
    decoder.raw_sysex.add(0x71)
    assert decoder.feed(b"\xf0\x71\x68\x00\xf7") == [Sysex(0x71, b"\x68\x00", offset=0, length=5)]
