"""What a worker writes to its descriptors: whole lines, within a limit, each line counted."""

from __future__ import annotations

import os

import pytest

from mlink.control import TEXT_LIMIT, Output, Report
from mlink.engine.direct_output import DirectOutput
from mlink.worker import output as limits


@pytest.fixture
def direct():
    direct = DirectOutput()
    yield direct
    direct.close()


def texts(direct: DirectOutput, **how: bool) -> list[str]:
    return [each.text for each in direct.read(**how) if isinstance(each, Output)]


def test_lines_are_whole_and_an_incomplete_one_waits_for_its_end(direct):
    os.write(direct.write_fd, b"one\ntw")
    assert texts(direct) == ["one"]
    assert texts(direct) == []
    os.write(direct.write_fd, b"o\nthree")
    assert texts(direct) == ["two"]
    direct.hand_over()
    assert not direct.ended
    assert texts(direct) == ["three"]
    assert direct.ended


def test_bytes_that_are_no_text_are_shown(direct):
    os.write(direct.write_fd, b"\xff\xfe\n")
    assert texts(direct) == ["\\xff\\xfe"]


def test_a_line_without_end_is_cut_and_not_gathered(direct):
    for _ in range(10):
        os.write(direct.write_fd, b"x" * 60_000)
        (text,) = texts(direct)
        assert text == "x" * TEXT_LIMIT + " … (cut)"


def test_lines_beyond_the_limit_are_counted_in_notes_and_in_the_figure(direct, monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(limits, "monotonic", lambda: Clock.now)
    shown: list[str] = []
    reports: list[Report] = []
    for _ in range(100):
        os.write(direct.write_fd, b"flood\n" * 5_000)
        Clock.now += 0.1
        for each in direct.read():
            shown.append(each.text) if isinstance(each, Output) else reports.append(each)
    shown += texts(direct, last=True)
    passed = shown.count("flood")
    notes = [text for text in shown if text.endswith(" lines left out")]
    left_out = sum(int(text.split()[1].replace(",", "")) for text in notes)
    assert passed + left_out == 500_000
    assert passed < limits.BURST_LINES + 11 * limits.LINES_PER_S
    assert reports[-1] == Report("directly written lines left out", left_out)
