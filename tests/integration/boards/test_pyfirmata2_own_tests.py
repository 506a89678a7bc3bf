"""pyFirmata2's own tests of its Board, run on ours; set-up downloads them.

Their board is a loop in memory. Ours talks to a scripted Uno behind a pseudo-terminal, whose end
of the line is the `board.sp` of the tests. What differs on purpose is here and in docs/boards.md.
"""

from __future__ import annotations

import importlib.util
import time
import types
import unittest
from collections.abc import Iterable, Iterator
from typing import Any

import pyfirmata2
import pytest
import serial

from mlink_drivers.firmata import Board
from tests.support.boards.scripted_board import ScriptedBoard
from tests.support.pyfirmata2_tests import cached_tests

KNOWN = "the board has answered when the constructor returns, so its version and firmware are known"
MODE = "the mode is set before reports are switched on: not every firmware samples without"
STANDS = "a servo does not move before its first angle, and its pin is set to the mode SERVO"
DIFFERENT = {
    "test_handle_report_version": KNOWN,
    "test_handle_report_firmware": KNOWN,
    "test_incoming_report_version": KNOWN,
    "test_incoming_report_firmware": KNOWN,
    "test_report_analog": MODE,
    "test_servo_config": STANDS,
    "test_servo_config_min_max_pulse": STANDS,
    "test_servo_config_min_max_pulse_angle": STANDS,
    "test_set_mode_servo": STANDS,
}
"""Test → what our Board does on purpose in another way."""
_LIMIT_S = 10.0


class LineEnd:
    """The board's end of the line: `read` has what our Board has sent, `write` sends to it."""

    def __init__(self, board: Board, scripted: ScriptedBoard) -> None:
        self._board = board
        self._scripted = scripted
        self._taken = self._marks = 0
        self.clear()

    def _received(self) -> bytes:
        """Return all that our Board has sent but for marks; a further mark, when it has arrived."""
        self._marks += 1
        mark = b"\xf0\x0f%c%c\xf7" % divmod(self._marks, 128)
        self._board.session.send(mark)
        self._scripted.wait_for(mark)
        return b"".join(each for each in self._scripted.received if each[:2] != b"\xf0\x0f")

    def clear(self) -> None:
        """Forget what was sent so far."""
        self._taken = len(self._received())

    def read(self, count: int = 1) -> bytearray:
        """Return the next bytes that our Board has sent; none when there are no more."""
        data = self._received()[self._taken :][:count]
        self._taken += len(data)
        return bytearray(data)

    def write(self, data: int | Iterable[int]) -> None:
        """Send to our Board, which a script reads in a loop, and wait until it has read it."""
        self._board.bytes_available()
        before = self._board.session.statistics.bytes_in
        sent = bytes((data,)) if isinstance(data, int) else bytes(data)
        self._scripted.send(sent)
        deadline = time.monotonic() + _LIMIT_S
        while self._board.session.statistics.bytes_in < before + len(sent):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.01)  # its messages are handled after their bytes were counted

    def __len__(self) -> int:
        return 0


@pytest.fixture(scope="module")
def theirs() -> types.ModuleType:
    """Return the library's test module."""
    path = cached_tests()
    if path is None:
        pytest.skip("pyFirmata2's tests are not on this machine: set-up could not download them")
    spec = importlib.util.spec_from_file_location("pyfirmata2_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the library's name of a board make ours, on a scripted Uno."""
    made: list[tuple[Board, ScriptedBoard]] = []

    real = serial.Serial

    def make(_port: str, layout: Any) -> Board:
        serial.Serial = real  # they have put their own in its place, for the library
        scripted = ScriptedBoard()
        scripted.report = lambda _port: None  # only the tests send for it
        board = Board(scripted.path, layout)
        made.append((board, scripted))
        board.sp = LineEnd(board, scripted)
        return board

    monkeypatch.setattr(pyfirmata2, "Board", make)
    monkeypatch.setattr(pyfirmata2.pyfirmata2, "BOARD_SETUP_WAIT_TIME", 0)
    yield
    serial.Serial = real
    for board, scripted in made:
        board.session.close()
        scripted.__exit__()


def test_their_tests_pass_but_for_what_differs_on_purpose(
    theirs: types.ModuleType, ours: None
) -> None:
    suite = unittest.TestSuite()
    loader = unittest.defaultTestLoader
    for case in (theirs.TestBoardMessages, theirs.TestBoardLayout, theirs.RegressionTests):
        suite.addTests(loader.loadTestsFromTestCase(case))
    result = unittest.TestResult()
    suite.run(result)
    reports = {case.id().rpartition(".")[2]: text for case, text in result.failures + result.errors}
    assert result.testsRun >= 29
    unexpected = {name: text for name, text in reports.items() if name not in DIFFERENT}
    assert not unexpected, "\n".join(f"{name}: {text}" for name, text in unexpected.items())
    assert sorted(reports) == sorted(DIFFERENT)
