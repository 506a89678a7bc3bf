"""The extra bytes of DEVICE_SPECIFIC commands, byte by byte as docs/boards.md has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink_drivers.firmata import extra
from mlink_drivers.firmata.extra import (
    I2CConfig,
    I2CTransfer,
    QueryPinState,
    RawSysex,
    ScanI2C,
    ServoConfig,
    SetPinMode,
    parse_extra,
)
from mlink_drivers.firmata.wire.protocol import I2CMode, PinMode


@pytest.mark.parametrize(
    ("payload", "made", "meaning"),
    [
        ("01 0a 01 7f", extra.sysex(0x0A, b"\x01\x7f"), RawSysex(0x0A, b"\x01\x7f")),
        ("02 0a ff", extra.sysex(0x0A, b"\xff", eight_bit=True), RawSysex(0x0A, b"\x7f\x01")),
        ("10 2c 01", extra.i2c_config(300), I2CConfig(300)),
        ("11 68 6b 00", extra.i2c_write(0x68, b"\x6b\0"), I2CTransfer(I2CMode.WRITE, 0x68, b"k\0")),
        ("12 68 06", extra.i2c_read(0x68, 6), I2CTransfer(I2CMode.READ_ONCE, 0x68, count=6)),
        (
            "12 68 06 3b",
            extra.i2c_read(0x68, 6, 0x3B),
            I2CTransfer(I2CMode.READ_ONCE, 0x68, count=6, register=0x3B),
        ),
        (
            "13 68 06 3b",
            extra.i2c_read(0x68, 6, 0x3B, continuously=True),
            I2CTransfer(I2CMode.READ_CONTINUOUSLY, 0x68, count=6, register=0x3B),
        ),
        ("10 2c 01 90 01", extra.i2c_config(300) + b"\x90\x01", I2CConfig(300, 400)),
        (
            "15 50 01 10 01 f0",
            bytes.fromhex("15500110 01f0"),
            I2CTransfer(
                I2CMode.READ_CONTINUOUSLY,
                0x50,
                count=16,
                register=0x1F0,
                register_bytes=2,
                repeated_start=None,
            ),
        ),
        (
            "15 50 06 10",
            bytes.fromhex("15500610"),
            I2CTransfer(I2CMode.READ_ONCE, 0x50, count=16, register_bytes=0, repeated_start=True),
        ),
        ("16", b"\x16", ScanI2C()),
        ("14 68", extra.i2c_stop(0x68), I2CTransfer(I2CMode.STOP_READING, 0x68)),
        ("20 02", extra.pin_mode(PinMode.ANALOG), SetPinMode(PinMode.ANALOG)),
        ("21 e8 03 d0 07", extra.servo_config(1000, 2000), ServoConfig(1000, 2000)),
        ("22", extra.pin_state(), QueryPinState()),
    ],
)
def test_what_each_form_means_and_who_makes_it(payload, made, meaning):
    assert made == bytes.fromhex(payload)
    assert parse_extra(made) == meaning


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("", "it is empty"),
        ("99", "byte 0 is 0x99, known are 0x01"),
        ("01", "byte 0 has to be followed by 1 or more bytes, not 0"),
        ("01 80", "sysex id 128"),
        ("01 0a 80", "above 0x7F"),
        ("10 01", "byte 0 has to be followed by 2 to 4 bytes, not 1"),
        ("12 68", "byte 0 has to be followed by 2 to 3 bytes, not 1"),
        ("12 68 00", "an I2C read has no bytes"),
        ("15 68 00 00", "an I2C read has no bytes"),
        ("15 68 00", "followed by 3 to 5 bytes"),
        ("16 00", "followed by 0 bytes"),
        ("11 80 00", "I2C address 0x80 is above 0x7f"),
        ("20 55", "there is no pin mode 85"),
        ("21 01", "byte 0 has to be followed by 4 bytes, not 1"),
        ("22 00", "byte 0 has to be followed by 0 bytes, not 1"),
    ],
)
def test_invalid_bytes_are_explained(payload, expected):
    with pytest.raises(ValueError, match=expected):
        parse_extra(bytes.fromhex(payload))


@given(st.binary(max_size=40))
def test_any_bytes_are_understood_or_refused_with_a_reason(data):
    try:
        meaning = parse_extra(data)
    except ValueError:
        return
    assert meaning is not None
