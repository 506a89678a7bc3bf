"""The simulated UART takes and gives bytes at the same time, at the rate of our firmware."""

import pytest

from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import ChipStatus, EdgeWatch
from mlink_drivers.firmata.wire import encode
from tests.support.boards.firmware_chip import Chip

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim


@pytest.mark.parametrize("baud_rate", [57_600, 1_000_000])
def test_bytes_that_come_while_others_leave_are_received_as_they_are(baud_rate: int) -> None:
    chip = Chip()
    chip.calibrate()
    if baud_rate != 57_600:
        chip.ask(chip_encode.change_baud(baud_rate))
        chip.ask(chip_encode.confirm_baud())
    chip.take()
    asked = b"".join(
        encode.pin_mode(pin, 0) + chip_encode.watch_edges({pin: 3}) for pin in (2, 4, 7, 8, 12)
    )
    for _ in range(10):  # each message is answered while the next ones come
        chip.send(asked, run_usec=15_000 if baud_rate == 57_600 else 3000)
    answers = [message for message in chip.take() if isinstance(message, EdgeWatch)]
    assert [answer.pin for answer in answers] == [2, 4, 7, 8, 12] * 10
    (status,) = chip.ask(chip_encode.status_query())
    assert isinstance(status, ChipStatus)
    assert status.malformed == status.receive_lost == chip.board.overruns == 0
    chip.board.close()
