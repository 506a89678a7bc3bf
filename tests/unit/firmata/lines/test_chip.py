"""The chip in a run: what is set up with it, what its losses become, and what is recorded."""

from __future__ import annotations

import time

import pytest

from mlink.clock import MasterClock
from mlink.reflexes import Edges, ReflexAction
from mlink.waiting import ServiceLoop
from mlink_drivers.firmata.catalog import FirmataSettings, firmata_io
from mlink_drivers.firmata.chip import session as chip_session
from mlink_drivers.firmata.chip.extra import Count, Reflex, WatchEdges
from mlink_drivers.firmata.chip.messages import BaudAnswer, ChipStatus, ExtensionId
from mlink_drivers.firmata.lines import levels as lines_levels
from mlink_drivers.firmata.lines import losses
from mlink_drivers.firmata.lines.chip import ChipInRun
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.lines.rows import COUNTERS_HEADER, EventRows, ReflexRows, Rows
from mlink_drivers.firmata.link.outgoing import Outgoing
from mlink_drivers.firmata.link.session import SessionStatistics
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import PinLayout
from mlink_drivers.firmata.wire.protocol import Sysex
from tests.support.boards.fake_chip import (
    TICK_HZ,
    WAY_NS,
    FakeChip,
    analog_block,
    baud_answer,
    counter_report,
    edge_block,
    edge_watch,
    events_lost,
    now_ticks,
    number,
    pulse_ended,
    reflex_fired,
    safe_state_tripped,
    scans_missed,
)
from tests.support.boards.scripted_board import UNO_PINS
from tests.support.fake_context import LOOPS, FakeContext

LOST = "readings-lost"


class FakeSession:
    """A session that is connected, on a fake chip; it is its own transport."""

    name = "uno"
    description = BoardDescription("memory", (2, 6), "mlink_firmata", (1, 0), PinLayout(UNO_PINS))
    sent_ns = 0

    def __init__(self, chip):
        self.transport = self
        self.baud_rate = 57_600
        self.can_change_baud_rate = True
        self.waiting = ServiceLoop("chip")
        self.outgoing = Outgoing(self.waiting, lambda _error: None)
        LOOPS.append(self.waiting)
        self.listener = None
        self.statistics = SessionStatistics()
        self._chip = chip

    def send(self, data):
        for message in self._chip.answers(data):
            self.listener.on_message(message, time.monotonic_ns() + 2 * WAY_NS)

    def set_baud_rate(self, baud_rate):
        self.baud_rate = baud_rate


class Bench:
    """A chip in a run, connected and started by the tests."""

    def __init__(self, tmp_path, **settings):
        self.chip = FakeChip()
        clock = MasterClock(time.monotonic_ns())
        self.context = FakeContext(
            firmata_io, FirmataSettings(**settings), tmp_path, name="board", clock=clock
        )
        outputs = self.context.outputs
        self.session = FakeSession(self.chip)
        self.readings = self.session.listener = Readings(
            outputs["fmdata"],
            clock,
            fail=self.context.fail,
            on_lost=self.context.fail,
            on_restarted=lambda: None,
            on_other=lambda message, arrival_ns: None,
        )
        self._events = EventRows(outputs["events"], clock)
        self._reflexes = ReflexRows(outputs["reflexes"], clock)
        self.pulses, self.silences = [], []
        self.run = ChipInRun(
            self.context,
            self.session,
            self.readings,
            self._events,
            self._reflexes,
            on_pulse=self.pulses.append,
            on_silence=self.silences.append,
            counters=Rows(outputs["counters"], clock, COUNTERS_HEADER),
        )

    def start(self):
        self._events.start()
        self._reflexes.start()
        self.run.start()
        self.readings.start()

    def hear(self, *messages):
        for message in messages:
            self.readings.on_message(message, time.monotonic_ns())

    def lose(self, message):
        """A count that is confirmed: without check values one message may have been changed."""
        self.run.chip.close()  # queries of its own would confirm another one
        self.session.waiting.settle()
        self.hear(message, message)

    def events(self, name):
        return [row[2] for row in self.context.outputs["events"].items if row[1] == name]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.run.close()
    bench.session.waiting.close()


@pytest.fixture
def running(bench):
    bench.run.connect()
    bench.start()
    return bench


# -- connecting ----------------------------------------------------------------------------------


def test_the_stream_carries_what_is_known_of_the_boards_clock(running):
    running.run.chip.close()  # its estimates change no more
    metadata = running.run.metadata
    assert metadata["timestamp_source"] == "device-clock"
    assert metadata["device_clock_hz"] == TICK_HZ
    assert metadata["baud_rate"] == 1_000_000
    assert metadata["uncertainty_usec"] == running.run.chip.uncertainty_usec > 0


def test_a_raised_baud_rate_paces_what_is_sent_by_the_boards_buffer(running):
    assert running.session.baud_rate == 1_000_000
    # the buffer of 100 bytes less its spare part
    assert [len(part) for part in running.session.outgoing.pace.split(bytes(150))] == [92, 58]


@pytest.mark.parametrize("can_change", [True, False])
def test_a_rate_that_is_not_wanted_or_cannot_be_changed_stays(tmp_path, can_change):
    bench = Bench(tmp_path, fast_baud_rate=0 if can_change else 1_000_000)
    bench.session.can_change_baud_rate = can_change
    bench.run.connect()
    bench.run.close()
    assert bench.session.baud_rate == 57_600
    assert bench.session.outgoing.pace is not None  # the buffer of the board is no larger
    assert not [message for message in bench.chip.sent if message[0] == ExtensionId.BAUD]


def test_without_the_extension_times_are_those_of_arrival(bench, tmp_path):
    bench.chip.has_extension = False
    bench.run.connect()
    bench.start()
    bench.run.report()
    assert "timestamp_source" not in bench.run.metadata
    assert bench.run.metadata["check_values"] is False
    assert bench.context.reports == {}
    assert bench.session.baud_rate == 57_600
    assert not list(tmp_path.rglob("*.tsync"))


def test_a_safe_state_that_the_firmware_does_not_have_is_a_warning(tmp_path, caplog):
    bench = Bench(tmp_path, safe_state_msec=500)
    bench.chip.has_extension = False
    bench.run.connect()
    assert "safe_state_msec" in caplog.text
    assert "mlink flash" in caplog.text


def test_a_clock_that_does_not_answer_is_a_warning(bench, caplog, monkeypatch):
    monkeypatch.setattr(chip_session, "_ANSWER_S", 0.05)
    bench.chip.keeps_time = False
    bench.run.connect()
    bench.start()
    assert "readings carry their time of arrival" in caplog.text
    assert "timestamp_source" not in bench.run.metadata
    assert bench.run.metadata["check_values"] is False


@pytest.mark.parametrize(("safe_state_msec", "pause_s"), [(0, 0.25), (400, 0.1), (10_000, 0.25)])
def test_the_chip_is_queried_several_times_within_the_safe_time(tmp_path, safe_state_msec, pause_s):
    assert Bench(tmp_path, safe_state_msec=safe_state_msec).run.chip._queries._pause_s == pause_s


# -- readings and losses -------------------------------------------------------------------------


def test_levels_and_edges_become_readings(running):
    running.readings.expect_edges(7)
    running.run.commands.watch(7)
    ticks = now_ticks()
    later = (ticks + 2000) % (1 << 32)
    running.hear(edge_watch(7, False, ticks), edge_block(0, [(7, True, later)]))
    first, second = running.context.outputs["fmdata"].items
    assert [(r.line_id, r.value) for r in (first, second)] == [(7, 0), (7, 1)]
    assert 950 <= second.time_usec - first.time_usec <= 1050


def test_edges_that_the_board_lost_leave_a_gap(running, caplog, monkeypatch):
    monkeypatch.setattr(losses, "_WARN_PAUSE_S", 3600)
    running.lose(events_lost(3))
    assert running.readings.lost == running.context.outputs["fmdata"].lost == 3
    running.lose(events_lost(5))
    assert running.readings.lost == 5
    assert running.events(LOST) == [
        "3 edges: the board's queue was full",
        "2 edges: the board's queue was full",
    ]
    assert caplog.text.count("edges lost") == 1  # the next one is logged after a pause
    assert "3 readings lost" in running.context.status


def test_what_was_lost_before_the_run_is_no_loss_of_it_and_counts_wrap(bench):
    bench.chip.status = ChipStatus(0, 65_530, *[0] * 7, 65_530, 0)
    bench.run.connect()
    bench.start()
    bench.lose(events_lost(4))
    assert bench.readings.lost == 10
    bench.run.connect()  # the board came back and counts as before
    bench.lose(events_lost(65_530))
    assert bench.readings.lost == 10


def test_a_later_status_does_not_forgive_losses(running):
    running.chip.status = ChipStatus(0, 7, *[0] * 9)
    running.session.send(b"\xf0\x09\xf7")
    running.lose(events_lost(7))
    assert running.readings.lost == 7


def test_a_scan_that_was_missed_is_a_sample_of_each_channel(running):
    for channel in (0, 3):
        running.readings.expect_analog(channel, 14 + channel)
        running.session.send(running.run.commands.sample(channel, 14 + channel))
    running.lose(scans_missed(2))
    assert running.readings.lost == 4
    assert running.events(LOST) == ["4 analog samples: the board could not keep up"]


def test_blocks_that_the_line_lost_leave_a_gap(running):
    running.readings.expect_analog(0, 14)
    running.session.send(running.run.commands.sample(0, 14))
    for at in (0, 2, 3):
        running.hear(analog_block(at, now_ticks(), [5 + at]))
    assert [r.value for r in running.context.outputs["fmdata"].items] == [5, 7, 8]
    assert running.events(LOST) == ["1 analog samples: on the line to the board"]
    running.hear(edge_block(0, []), edge_block(2, []), edge_block(3, []))
    assert running.events(LOST)[1:] == ["1 blocks of edges: on the line to the board"]
    assert running.readings.lost == 2


def test_edges_before_any_answer_about_counts_are_a_loss_of_unknown_size(running):
    """The answer comes before all edges: it was lost on the line, as blocks behind it may be."""
    running.run._losses.awaits_counts = True
    running.run.commands.watch(7)
    ticks = now_ticks()
    running.hear(edge_block(6, [(7, True, ticks), (7, False, ticks)]))
    assert running.events(LOST) == [
        "1 blocks of edges at least: on the line to the board, before the first one"
    ]
    running.run._losses.awaits_counts = True
    running.session.send(b"\xf0\x09\xf7")  # answered
    running.hear(edge_block(7, [(7, True, ticks)]))
    assert len(running.events(LOST)) == 1


def test_a_message_that_never_has_a_check_value_is_refused_because_of_the_line(running, caplog):
    running.run._losses._is_checked = lambda: True
    running.run._losses.refuse("a sample that cannot be", unchecked=True)
    running.run.report()
    assert "Bytes change on the way" in caplog.text
    assert "Bytes change on the way" in running.context.losses[0][1]


# -- times that cannot be, and levels that were lost -----------------------------------------------

LATER = 20_000_000  # ticks: 10 s


def shifted(ticks):
    return (now_ticks() + ticks) % (1 << 32)


@pytest.mark.parametrize(
    "message",
    [
        lambda: edge_block(0, [(7, True, shifted(LATER))]),
        lambda: edge_block(0, [(7, True, shifted(-LATER))]),
        lambda: edge_watch(7, True, shifted(LATER)),
        lambda: reflex_fired(1, shifted(LATER), shifted(LATER)),
        lambda: reflex_fired(1, shifted(-200), shifted(LATER)),
        lambda: pulse_ended(8, shifted(-LATER), shifted(LATER)),
        lambda: pulse_ended(8, shifted(LATER), shifted(-200)),
        lambda: analog_block(0, shifted(LATER), [5]),
        lambda: analog_block(0, shifted(-LATER), [5]),
        lambda: counter_report(0, 1, shifted(LATER), 0, 0),
        lambda: counter_report(0, 1, shifted(-200), 1, shifted(LATER)),
        lambda: Sysex(ExtensionId.CLOCK, b"\0\1" + number(0, 5) * 2),
    ],
)
def test_a_message_with_a_time_that_cannot_be_is_refused_counted_and_recorded(
    running, caplog, message
):
    running.readings.expect_analog(0, 14)
    running.session.send(running.run.commands.sample(0, 14))
    running.run.commands.execute(7, Count(0, None, Edges.BOTH, False, 100), 0)
    running.readings.expect_edges(7)
    for _ in range(2):
        running.hear(message())
    for name in ("fmdata", "reflexes", "counters"):
        assert running.context.outputs[name].items == []
    assert running.pulses == []
    assert len(running.events("message-refused")) == 2
    assert caplog.text.count("a message of the board is not used") == 1
    running.run.report()
    assert running.context.reports["board_messages_refused"] == 2
    assert "2 message(s) of uno were not used" in running.context.losses[0][0]


def watched(running, *lines):
    for line in lines:
        running.readings.expect_edges(line)
        running.session.send(running.run.commands.watch(line))
        running.hear(edge_watch(line, False, shifted(-4000)))
    running.chip.sent.clear()


def look(running):
    """Look at the levels, as after each exchange of the clock; return the queried lines."""
    running.chip.sent.clear()
    running.run.levels.look()
    orders = [body[2:] for body in running.chip.sent if body[0] == ExtensionId.EDGES]
    return [line for order in orders for line in order[::2]]


@pytest.fixture
def levels(running, monkeypatch):
    running.run.chip.close()  # it looks by itself
    running.session.waiting.settle()
    monkeypatch.setattr(lines_levels, "_QUEUE_NS", 0)
    monkeypatch.setattr(lines_levels, "_SOON_NS", 0)
    watched(running, 7, 8)
    running.run.levels.look()
    return running


@pytest.mark.parametrize(
    "cause",
    [
        lambda bench: bench.lose(events_lost(1)),
        lambda bench: bench.hear(edge_block(0, [(7, True, shifted(LATER))])),
        lambda bench: bench.hear(*(edge_block(number, []) for number in (0, 1, 3, 4))),
        lambda bench: bench.hear(edge_block(0, [(7, False, shifted(-200))])),  # it was low already
        lambda bench: setattr(bench.session.statistics, "dropped_bytes", 3),
    ],
)
def test_a_level_that_was_lost_is_queried_and_becomes_a_reading(levels, caplog, cause):
    assert look(levels) == []
    cause(levels)
    assert look(levels) == [7, 8]
    assert look(levels) == []
    levels.hear(edge_watch(7, True, shifted(-100)), edge_watch(8, False, shifted(-100)))
    time.sleep(0.001)
    before = len(levels.context.outputs["fmdata"].items)
    levels.run.levels.look()
    levels.run.levels.look()
    (reading,) = levels.context.outputs["fmdata"].items[before:]
    assert (reading.line_id, reading.value) == (7, 1)
    assert levels.events("level-corrected") == ["line 7 is 1"]
    assert "line 7 is 1, which no reading had" in caplog.text
    levels.run.report()
    assert levels.context.reports["levels_corrected"] == 1


@pytest.mark.parametrize("kind", [Edges.BOTH, Edges.RISING])
def test_a_first_level_that_was_refused_is_queried_again_and_edges_until_then_are_lost(
    levels, monkeypatch, caplog, kind
):
    """The line was without readings for the whole run, and the run without a loss."""
    monkeypatch.setattr(lines_levels, "_FENCE_NS", 0)
    levels.run.commands.execute(4, WatchEdges(kind), 0)
    levels.readings.expect_edges(4)
    levels.hear(edge_watch(4, False, shifted(LATER)))  # such as by a clock that was not steady
    levels.hear(edge_block(0, [(4, True, shifted(-300))]))
    assert 4 in look(levels)
    assert levels.events(LOST) == ["1 edges: the first level of line 4 had not come"]
    assert "the first level of line 4 has not come" in caplog.text
    levels.hear(edge_watch(4, False, shifted(-200)), edge_block(1, [(4, True, shifted(-100))]))
    readings = levels.context.outputs["fmdata"].items
    assert [reading.value for reading in readings if reading.line_id == 4] == [0, 1]


def test_an_edge_after_the_query_needs_no_correction(levels):
    levels.lose(events_lost(1))
    assert look(levels) == [7, 8]
    levels.hear(edge_watch(7, True, shifted(-2000)), edge_block(0, [(7, True, shifted(-1000))]))
    time.sleep(0.001)
    levels.run.levels.look()
    assert levels.events("level-corrected") == []
    assert [r.value for r in levels.context.outputs["fmdata"].items if r.line_id == 7] == [0, 1]


def test_lines_of_which_not_both_edges_are_reported_are_not_queried(levels):
    levels.run.commands.execute(7, WatchEdges(Edges.RISING), 0)
    levels.hear(edge_block(0, [(7, True, shifted(-300)), (7, True, shifted(-200))]))
    assert look(levels) == []  # each edge of line 7 is a rising one
    levels.lose(events_lost(1))
    assert look(levels) == [8]


def test_without_check_values_levels_are_queried_each_second(levels, monkeypatch):
    monkeypatch.setattr(lines_levels, "_PAUSE_NS", 0)
    assert look(levels) == [7, 8]


def test_bytes_that_belong_to_no_message_are_reported_and_counted(levels, caplog):
    for total in (3, 5):
        levels.session.statistics.dropped_bytes = total
        levels.run.levels.look()
    levels.run.report()
    assert caplog.text.count("belong to no message") == 1
    assert levels.events("bytes-dropped") == [
        "3 bytes from the board belong to no message",
        "2 bytes from the board belong to no message",
    ]
    assert levels.context.losses[0][0].startswith("5 byte(s) from uno belonged to no message")


# -- reflexes, safe state, baud rate -------------------------------------------------------------


def test_a_reflex_is_a_row_with_its_lines(running):
    order = Reflex(1, Edges.RISING, 8, ReflexAction.HIGH, 0, 0, None)
    running.run.commands.execute(7, order, 0)
    ticks = now_ticks()
    later = (ticks + 200) % (1 << 32)
    running.hear(reflex_fired(1, ticks, later), reflex_fired(2, ticks, later))
    known, unknown = running.context.outputs["reflexes"].items
    assert (known[0], *known[3:]) == ("1", "7", "8")
    assert 95 <= int(known[2]) - int(known[1]) <= 105
    assert (unknown[0], *unknown[3:]) == ("2", "", "")


def test_a_safe_state_that_tripped_is_noted_and_ends_the_reflexes(running, caplog):
    order = Reflex(1, Edges.RISING, 8, ReflexAction.HIGH, 0, 0, None)
    running.run.commands.execute(7, order, 0)
    running.hear(safe_state_tripped(now_ticks()))
    assert len(running.events("safe-state")) == 1
    assert "safe_state_msec" in caplog.text
    assert running.run.commands.orders.reflexes == {}
    running.run.report()
    assert running.context.reports["safe_states"] == 1
    assert "uno made its outputs safe 1 time(s)" in running.context.losses[0][0]


def test_a_board_that_fell_back_to_its_first_rate_is_a_warning(running, caplog):
    running.hear(baud_answer(BaudAnswer.FELL_BACK, 57_600))
    assert "uno is back at 57600 baud" in caplog.text


def test_a_board_without_a_clock_makes_no_reflex_rows(bench, monkeypatch):
    monkeypatch.setattr(chip_session, "_ANSWER_S", 0.05)
    bench.chip.keeps_time = False
    bench.run.connect()
    bench.start()
    bench.hear(reflex_fired(1, 0, 200), analog_block(0, 0, [5]))
    assert bench.context.outputs["reflexes"].items == []
    assert bench.context.outputs["fmdata"].items == []


# -- the end -------------------------------------------------------------------------------------


def test_the_clock_is_recorded_and_reported(running, tmp_path):
    running.run.chip.close()  # its estimates change no more
    running.run.finish()
    running.run.finish()
    running.run.report()
    (path,) = tmp_path.rglob("*.tsync")
    assert path.stat().st_size > 0
    assert abs(running.context.reports["board_clock_ppm"]) < 3000
    uncertainty_usec = running.run.chip.uncertainty_usec
    assert running.context.reports["board_clock_uncertainty_usec"] == uncertainty_usec
    assert "readings_lost_by_board" not in running.context.reports
    running.lose(events_lost(2))
    running.run.report()
    assert running.context.reports["readings_lost_by_board"] == 2


def test_after_closing_nothing_is_asked(running):
    running.run.close()
    assert running.context.failures == []


# -- bytes that the board has lost ---------------------------------------------------------------


def test_bytes_that_the_board_lost_are_counted_noted_and_reported(running, caplog):
    for total in (0x7FFF, 0xFFFE):
        running.chip.status = ChipStatus(0, 0, 0, total, 0, 0, 0, 0, 0, 0, 0)
        running.run.take_last_counts()
    running.chip.status = ChipStatus(0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0)  # wraps
    running.run.take_last_counts()
    running.run.report()
    total = 0xFFFE + 6 + 2
    assert running.context.reports["bytes_lost_by_board"] == total
    assert running.events("bytes-lost") == [
        "32767 bytes to the board: its receive buffer was full",
        "32767 bytes to the board: its receive buffer was full",
        "6 bytes to the board: its receive buffer was full",
        "2 bytes to the board: they arrived without a stop bit",
    ]
    unexecuted = "Commands with these bytes were not executed, or not as they were sent"
    assert running.context.losses == [
        (
            f"uno lost {total - 2} byte(s) of commands: its receive buffer was full. {unexecuted}",
            "Send it fewer commands at once.",
        ),
        (
            f"uno lost 2 byte(s) of commands: they arrived without a stop bit. {unexecuted}",
            "Check its cable, or set a lower fast_baud_rate (0 keeps that of its firmware).",
        ),
    ]
    assert "uno lost 32767 bytes of what was sent to it (32767 in all): its receive buffer was" in (
        caplog.text
    )


@pytest.mark.parametrize("changed", [1 << 12, 1 << 2, -1])
def test_a_count_that_changed_on_the_line_is_no_loss(running, changed):
    running.run.chip.close()
    running.session.waiting.settle()
    for lost in (1, 1 + changed, 1, 1 + changed, 1, 3, 3):
        running.chip.status = ChipStatus(0, lost, 0, lost, 0, lost, lost, 0, 0, 0, 0)
        running.session.send(b"\xf0\x09\xf7")
    running.run.report()
    assert running.context.reports["bytes_lost_by_board"] == 3
    assert running.readings.lost == 3
    assert sum(int(text.split()[0]) for text in running.events(LOST)) == 3


def test_a_board_that_lost_nothing_reports_nothing(running, caplog):
    running.run.take_last_counts()
    running.run.report()
    assert "bytes_lost_by_board" not in running.context.reports
    assert running.context.losses == []
    assert running.events("bytes-lost") == []
    assert "lost" not in caplog.text


def test_a_board_that_does_not_answer_at_the_end_of_a_run_is_a_loss(running, monkeypatch):
    monkeypatch.setattr(losses, "_LAST_COUNTS_S", 0.01)
    running.chip.answers = lambda data: []
    running.run.chip.close()
    for _ in range(3):
        running.run.chip.clock.query(time.monotonic_ns())
    running.run.take_last_counts()
    assert "did not answer at the end of the run" in running.context.losses[0][0]


def test_what_may_have_filled_the_buffer_is_followed_by_a_query(running, monkeypatch):
    running.run.chip.close()
    monkeypatch.setattr(losses, "_COUNTS_PAUSE_S", 1e9)
    running.chip.sent.clear()
    for total, queries in ((50, 0), (51, 1), (101, 1), (102, 2)):
        running.session.statistics.bytes_out = total
        running.run._on_exchange(running.run.chip.clock)
        asked = [each for each in running.chip.sent if each[0] == ExtensionId.STATUS]
        assert len(asked) == queries
    monkeypatch.setattr(losses, "_COUNTS_PAUSE_S", 0)
    running.run._on_exchange(running.run.chip.clock)
    assert len([each for each in running.chip.sent if each[0] == ExtensionId.STATUS]) == 3
