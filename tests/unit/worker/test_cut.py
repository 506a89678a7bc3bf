"""Texts in control messages: any text can be sent."""

from __future__ import annotations

import msgspec

from mlink import control


def test_a_text_that_is_not_valid_utf_8_is_escaped() -> None:
    text = control.cut("caf\udce9 µ")
    assert text == "caf\\udce9 µ"
    msgspec.msgpack.encode(control.Log(40, text))


def test_a_long_text_is_cut() -> None:
    assert len(control.cut("x" * 50_000)) < 17_000
