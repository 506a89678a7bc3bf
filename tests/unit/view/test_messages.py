"""Messages between a run and the program of its view, cut out of what arrives."""

from __future__ import annotations

import pytest

from mlink.errors import ControlError
from mlink.view.messages import LogLine, Stop, Want
from mlink.view.wire import LIMIT, ToRunBuffer, pack
from tests.support.view_messages import read_all


def test_messages_come_whole_from_bytes_that_come_in_parts():
    data = pack(Want("cam.video", 640)) + pack(Stop("enough"))
    buffer = ToRunBuffer()
    found = [message for at in range(len(data)) for message in buffer.feed(data[at : at + 1])]
    assert found == [Want("cam.video", 640), Stop("enough")]
    assert ToRunBuffer().feed(data) == found


def test_a_run_is_read_to_its_end_also_when_it_breaks_off():
    line = pack(LogLine("cam", 30, "slow"))
    assert read_all(line + line[:-1]) == [LogLine("cam", 30, "slow")]


@pytest.mark.parametrize(
    "data", [(LIMIT + 1).to_bytes(4, "little"), b"\x02\0\0\0\x81\xa1", b"\x01\0\0\0\xc1"]
)
def test_what_is_no_message_is_refused_in_words(data):
    with pytest.raises(ControlError, match="message"):
        ToRunBuffer().feed(data)
    with pytest.raises(ControlError, match="message"):
        read_all(data)
