"""Names of lines: which pin each means, and what is refused."""

from __future__ import annotations

import pytest

from mlink_hil.board_kinds import MEGA, NANO, UNO
from mlink_hil.wiring.lines import parse_line


@pytest.mark.parametrize(
    ("text", "pin"), [("2", 2), ("13", 13), ("19", 19), ("A0", 14), ("A5", 19), ("08", 8)]
)
def test_pins_by_number_and_as_analog_inputs(text: str, pin: int) -> None:
    assert UNO.pin(text) == pin
    assert str(parse_line(f"uno.{text}", {})) == f"uno.{pin}"


@pytest.mark.parametrize("text", ["20", "99", "A6", "A", "", "x", "-3", "AA0", "2.5"])
def test_a_pin_that_an_uno_has_not(text: str) -> None:
    with pytest.raises(ValueError, match=rf"an Uno has no pin '{text}' \(valid: 2 to 19, A0 to A5"):
        UNO.pin(text)


@pytest.mark.parametrize("text", ["0", "1"])
def test_the_serial_line_cannot_be_wired(text: str) -> None:
    with pytest.raises(ValueError, match=f"pin '{text}' of an Uno is its serial line"):
        UNO.pin(text)


@pytest.mark.parametrize(
    "text", ["", "8", "uno", "uno.", ".8", "uno.8.9", "uno 8", "uno.x", "uno.100"]
)
def test_a_text_that_is_not_a_line(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is not a line"):
        parse_line(text, {})


def test_the_pins_of_other_boards() -> None:
    kinds = {"big": MEGA, "small": NANO}
    assert str(parse_line("big.A15", kinds)) == "big.69"
    assert str(parse_line("small.A7", kinds)) == "small.21"
    with pytest.raises(ValueError, match=r"a Mega has no pin '70' \(valid: 2 to 69, A0 to A15\)"):
        parse_line("big.70", kinds)
    with pytest.raises(ValueError, match="a Nano has no pin 'A8'"):
        parse_line("small.A8", kinds)
