"""Files of a sensor's waveform."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.errors import DeviceError
from mlink_hil.wiring.waveform import read_waveform


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n0.5,2.5\n",
        "sec,volts\n0,1\n0.5,2.5\n",
        "# a comment\n\n0;1\n0.5 ; 2.5\n",
        "0 1\n0.5\t2.5",
    ],
)
def test_separators_names_and_comments(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wave.csv"
    path.write_text(text)
    assert read_waveform("temperature", path) == [(0.0, 1.0), (0.5, 2.5)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,1\n1,x\n", "line 2 is not two numbers"),
        ("0,1\n1,2,3\n", "line 2 is not two numbers"),
        ("0,1\n1\n", "line 2 is not two numbers"),
        ("0,1\n2,1\n1,1\n", "line 3: 1 s is not later"),
        ("0,1\n0,2\n", "line 2: 0 s is not later"),
        ("0,1\nnan,2\n", "line 2: time and voltage must be finite"),
        ("0,1\n1,inf\n", "line 2: time and voltage must be finite"),
        ("sec,volts\n", "holds no points"),
        ("", "holds no points"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wave.csv"
    path.write_text(text)
    with pytest.raises(DeviceError) as caught:
        read_waveform("temperature", path)
    assert words in str(caught.value)
    assert "[virtual.temperature] file" in str(caught.value)
    assert caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be read"):
        read_waveform("temperature", tmp_path / "no.csv")


def test_a_file_that_is_too_long_is_refused_not_cut(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mlink_hil.wiring.waveform._MAX_ROWS", 3)
    path = tmp_path / "wave.csv"
    path.write_text("0,1\n1,1\n2,1\n3,1\n")
    with pytest.raises(DeviceError, match="has 4 lines; a waveform may have 3"):
        read_waveform("temperature", path)
