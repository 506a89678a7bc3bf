"""The tape: what is taken for the same as in the lab, and what follows virtual time."""

from pathlib import Path

import pytest

from mlink.clock import ManualClock
from mlink.module import PortSpec
from mlink.recording.journal.reading import ClockAnswer, Header, Port, read_journal
from mlink.types import DataType, LineReading
from mlink.worker.input_port import WorkerInput
from mlink.worker.journal_writer import MAX_CLOCK_RECORDS, JournalWriter
from mlink.worker.virtual_time.tape import Tape, TapeClock

READING = b"\x93\x07\x01\xcd\x03\xe8"  # msgpack of LineReading(7, 1, 1000)
HEADER = Header("loop", (Port("in", "LineReading", "board.fmdata"),), (Port("out", "TableRow"),))
SOURCES = {"in": "board.fmdata"}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def journal(tmp_path, clock):
    writer = JournalWriter(tmp_path / "a", HEADER, clock, fail=pytest.fail, in_thread=False)
    yield writer
    writer.close()


def tape_of(journal: JournalWriter, path: Path, sources=SOURCES) -> Tape:
    journal.close()
    return Tape(path / "a", [WorkerInput(PortSpec("in", DataType.LineReading))], sources)


def test_an_item_comes_at_its_time_with_the_answers_of_the_clock(journal, clock, tmp_path):
    clock.time_usec = 1_500
    journal.item(0, 4, READING, LineReading(7, 1, 1000))
    journal.clock(1_501)
    journal.clock(1_777)
    tape = tape_of(journal, tmp_path)
    assert tape.next_usec == 1_500
    event, pulled = tape.pop()
    assert (pulled.seq, pulled.item) == (4, LineReading(7, 1, 1000))
    shown = TapeClock(ManualClock(1_500))
    shown.follow(event)
    assert [shown.now_usec() for _ in range(3)] == [1_501, 1_777, 1_777]  # never back


def test_an_input_of_another_source_is_not_on_the_tape(journal, tmp_path):
    journal.item(0, 0, READING, LineReading(7, 1, 1000))
    tape = tape_of(journal, tmp_path, sources={"in": "other.fmdata"})
    assert tape.ports == []
    assert tape.next_usec is None


@pytest.mark.parametrize(
    ("number", "delay_usec", "due_usec", "made_at"),
    [
        (0, 100_000, 100_050, 100_300),  # the same call: as late as in the lab
        (0, 50_000, 50_050, 50_050),  # the script asks for another delay now
        (1, 100_000, 100_050, 100_050),  # it asks for a call more than in the lab
        (0, 100_000, 3_000_000, 3_000_000),  # it asks for it much later
    ],
)
def test_a_delayed_call_is_made_when_the_same_was_made(
    journal, clock, tmp_path, number, delay_usec, due_usec, made_at
):
    clock.time_usec = 100_300
    journal.timer(0, 100_000, 0)
    assert tape_of(journal, tmp_path).timer(number, delay_usec, due_usec).time_usec == made_at


def test_a_wait_within_a_wait_ends_before_it(journal, clock, tmp_path):
    clock.time_usec = 1_200
    journal.wait(1_000, 150)  # in a handler
    clock.time_usec = 1_300
    journal.wait(50_000, 100)  # the loop's, in which the handler was called
    tape = tape_of(journal, tmp_path)
    assert tape.wait(50_000, 100).time_usec == 1_300
    assert tape.wait(1_000, 150).time_usec == 1_200
    assert tape.wait(1_000, 1_400) is None


@pytest.mark.parametrize("requested_usec", [0, 900_000])
def test_what_was_late_since_the_machine_stood_still_is_as_late_again(
    journal, clock, tmp_path, requested_usec
):
    clock.time_usec = 60_000_000
    journal.timer(0, 100_000, 0)
    journal.wait(30_000, 0)
    tape = tape_of(journal, tmp_path)
    assert tape.timer(0, 100_000, requested_usec + 100_000).time_usec == 60_000_000
    assert tape.wait(30_000, requested_usec).time_usec == 60_000_000


def test_what_was_requested_much_later_is_not_awaited(journal, clock, tmp_path):
    clock.time_usec = 60_000_000
    journal.timer(0, 100_000, 59_900_000)  # on time, after a minute without events
    journal.wait(30_000, 59_970_000)
    tape = tape_of(journal, tmp_path)
    assert tape.timer(0, 100_000, 100_000).time_usec == 100_000
    assert tape.wait(30_000, 0) is None


def test_a_wait_in_which_a_late_handler_waited_ends_after_that(journal, clock, tmp_path):
    clock.time_usec = 3_000_000
    journal.item(0, 0, READING, LineReading(7, 1, 1000))  # late, in the wait of the loop
    clock.time_usec = 3_001_000
    journal.wait(1_000, journal.last_usec)
    clock.time_usec = 3_002_000
    journal.wait(50_000, 0)
    assert tape_of(journal, tmp_path).wait(50_000, 0).time_usec == 3_002_000


def test_a_clock_that_is_asked_on_and_on_is_not_written_down_for_ever(journal, tmp_path):
    for time_usec in range(10 * MAX_CLOCK_RECORDS):
        journal.clock(time_usec)
    journal.close()
    assert len(list(read_journal(tmp_path / "a").of_kind(ClockAnswer))) == MAX_CLOCK_RECORDS
