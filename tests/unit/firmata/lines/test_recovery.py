"""A pulled cable in a run: what is reported, how the board is restored, and the policies."""

from __future__ import annotations

import threading
import time

import pytest

from mlink.types import LineCommandKind, LineModeFlags
from mlink_drivers.firmata import extra
from mlink_drivers.firmata.lines.output.writer import Unproven
from mlink_drivers.firmata.link.reconnect import LinkState
from mlink_drivers.firmata.wire.protocol import PinMode
from tests.support.boards.firmata_bench import Bench
from tests.support.boards.scripted_board import UNO_PINS, ScriptedBoard, open_descriptors, sysex

Kind = LineCommandKind
OUTPUT, PULL_UP = LineModeFlags.IS_OUTPUT, LineModeFlags.PULL_UP
SILENT_SERVO = b"\xf4\x03\x04"


class Socket:
    """Where a board is plugged in: a link that stays the same while the board behind it changes."""

    def __init__(self, folder):
        self.link = folder / "board"
        self.board = None

    def plug(self, **options):
        self.board = ScriptedBoard(**options)
        self.link.symlink_to(self.board.path)
        return self.board

    def unplug(self):
        board, self.board = self.board, None
        if board is not None:
            self.link.unlink()
            board.__exit__()


@pytest.fixture
def socket(tmp_path):
    socket = Socket(tmp_path)
    socket.plug()
    yield socket
    socket.unplug()


@pytest.fixture
def make(tmp_path, socket):
    """Makes a running module whose board may be pulled; closed at the end."""
    benches = []

    def make_bench(**settings):
        settings = {"on_loss": "continue", "handshake_timeout_s": 1, **settings}
        handshake_timeout_s = settings.pop("handshake_timeout_s")
        bench = Bench(tmp_path, socket.board, address=str(socket.link), **settings)
        bench.module.settings.handshake_timeout_s = handshake_timeout_s
        benches.append(bench.__enter__())
        return bench

    yield make_bench
    for bench in benches:
        bench.module.close()


def test_the_loss_is_reported_at_once_and_the_run_goes_on(make, socket, caplog):
    bench = make()
    socket.unplug()
    bench.wait_for_event("lost")
    assert "uno (virtual:uno) lost" in caplog.text
    assert "no readings until it is back" in caplog.text
    assert bench.context.status.startswith("lost: ")
    assert bench.context.failures == []


def test_readings_go_on_in_the_same_run_when_the_board_is_back(make, socket):
    bench = make()
    bench.set_input(2, LineModeFlags.IS_INPUT | PULL_UP)
    bench.wait_for_readings((2, 0))
    socket.unplug()
    bench.wait_for_event("lost")
    board = socket.plug()
    board.port_states[0] = 0b100
    # the line's state after the gap comes first, then its changes
    bench.wait_for_readings((2, 0), (2, 1))
    board.set_pin(2, 0)
    bench.wait_for_readings((2, 0), (2, 1), (2, 0))
    assert b"\xf4\x02\x0b" in board.received
    bench.wait_for_event("connected", count=2)
    events = [row[1] for row in bench.rows("events")]
    assert events == ["connected", "lost", "reopening", "connected"]
    assert "gap" in bench.rows("events")[-1][2]
    assert bench.module._recovery.state is LinkState.CONNECTED
    assert str(socket.link) in bench.context.status


def test_modes_reporting_and_outputs_are_replayed(make, socket):
    bench = make(analog_lines=(14,), servo_lines=(3,), sampling_interval_msec=100)
    bench.set_input(14)
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    bench.send(Kind.WRITE_ANALOG, 9, value=200)
    bench.send(Kind.WRITE_ANALOG, 3, value=90)
    bench.send(Kind.SET_MODE, 12, flags=OUTPUT)
    socket.unplug()
    bench.wait_for_event("lost")
    board = socket.plug()
    bench.wait_for_event("connected", count=2)
    board.wait_for(b"\xf5\x0c\x00")
    received = board.received
    assert sysex(0x7A, (100, 0)) in received
    assert received.index(b"\xf4\x0e\x02") < received.index(b"\xc0\x01")
    assert received.index(b"\xf4\x0d\x01") < received.index(b"\xf5\x0d\x01")
    assert received.index(b"\xf4\x09\x03") < received.index(b"\xe9\x48\x01")
    assert received.index(b"\xf4\x03\x04") < received.index(b"\xe3\x5a\x00")
    board.send(b"\xe0\x05\x00")
    bench.wait_for_readings((14, 5))


def test_safe_values_take_the_place_of_the_last_ones(make, socket):
    bench = make(on_reconnect="safe", safe_values={"9": 255}, servo_lines=(3,))
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    bench.send(Kind.WRITE_ANALOG, 9, value=200)
    bench.send(Kind.WRITE_ANALOG, 3, value=90)
    bench.set_input(2)
    socket.unplug()
    bench.wait_for_event("lost")
    board = socket.plug()
    bench.wait_for_event("connected", count=2)
    board.wait_for(b"\xd0\x01")
    assert b"\xf5\x0d\x00" in board.received
    assert b"\xf5\x0d\x01" not in board.received
    assert b"\xe9\x7f\x01" in board.received
    assert not [message for message in board.received if message[0] == 0xE3]


def test_the_run_may_end_when_the_board_is_back(make, socket):
    bench = make(on_reconnect="stop")
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    socket.unplug()
    bench.wait_for_event("lost")
    assert bench.context.failures == []
    board = socket.plug()
    assert 'on_reconnect = "stop" ends the run' in bench.failure()
    assert b"\xf5\x0d\x01" not in board.received


def test_commands_of_the_gap_are_sent_when_the_board_is_back(make, socket):
    bench = make()
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    socket.unplug()
    bench.wait_for_event("lost")
    bench.send(Kind.WRITE_DIGITAL, 13, value=0)
    bench.send(Kind.WRITE_DIGITAL, 12, value=1)
    bench.set_input(2)
    board = socket.plug()
    bench.wait_for_readings((2, 0))
    assert b"\xf5\x0d\x01" not in board.received
    assert b"\xf5\x0c\x01" in board.received
    assert bench.context.failures == []
    bench.module.drained()
    assert bench.context.reports["reconnects"] == 1
    assert (undelivered := bench.context.reports["messages_undelivered"]) >= 3
    what, remedy = bench.context.losses[0]
    assert what.startswith(f"{undelivered} message(s) to ")
    assert what.endswith(" were not sent: it was away")
    assert remedy == "Check its cable and its supply."


def test_a_pulse_that_ends_in_the_gap_leaves_its_line_at_rest(make, socket):
    bench = make()
    bench.send(Kind.WRITE_DIGITAL_PULSE, 13, duration_usec=50_000)
    socket.unplug()
    bench.wait_for_event("lost")
    bench.send(Kind.WRITE_DIGITAL_PULSE, 12, duration_usec=20_000)  # begins and ends in the gap
    bench.wait_for_row("pulses", lambda row: row[0] == "12")
    bench.wait_for_row("pulses", lambda row: row[0] == "13")
    bench.set_input(2)
    board = socket.plug()
    bench.wait_for_readings((2, 0))
    assert {m for m in board.received if m[0] == 0xF5} == {b"\xf5\x0d\x00", b"\xf5\x0c\x00"}


def test_i2c_and_servo_settings_are_replayed(make, socket):
    socket.unplug()
    with_i2c = (*UNO_PINS[:18], {6: 1}, {6: 1})
    socket.plug(pins=with_i2c)
    bench = make()
    bench.ask(extra.i2c_read(0x68, 6, 0x3B, continuously=True))
    bench.ask(extra.servo_config(1000, 2000), line=9)
    socket.unplug()
    bench.wait_for_event("lost")
    board = socket.plug(pins=with_i2c)
    request = sysex(0x76, (0x68, 0b10000, 0x3B, 0, 6, 0))
    board.wait_for(request)
    assert board.received.index(sysex(0x78, (0, 0))) < board.received.index(request)
    assert sysex(0x70, (9, 1000 & 127, 1000 >> 7, 2000 & 127, 2000 >> 7)) in board.received


def test_a_board_that_restarts_is_restored(make, socket):
    bench = make()
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    socket.board.send(b"\xf9\x02\x05" + sysex(0x79, (2, 5)))  # its greeting
    socket.board.wait_for(b"\xf5\x0d\x01", count=2)
    bench.wait_for_readings((2, 0), (2, 0))
    assert bench.context.failures == []
    assert "restarted during the run" in bench.rows("events")[1][2]


def test_a_board_that_is_away_leaves_a_gap_and_is_a_loss_of_the_run(make, socket):
    """The run was green without a hint, even where the board never came back."""
    bench = make()
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    assert bench.context.outputs["fmdata"].lost == 0
    socket.unplug()
    bench.wait_for_event("lost")
    before = bench.context.outputs["fmdata"].lost
    assert before > 0
    time.sleep(0.002)
    bench.module.halt()
    bench.module.drained()
    assert bench.context.outputs["fmdata"].lost > before  # also what was missing until the end
    assert bench.context.reports["board_away_sec"] >= 0
    (text,) = (what for what, _ in bench.context.losses if "away for" in what)
    assert text.endswith("s, until the end: its readings of that time are missing")


def test_a_board_that_is_away_without_inputs_loses_no_reading(make, socket):
    bench = make()
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    socket.unplug()
    bench.wait_for_event("lost")
    socket.plug()
    bench.wait_for_event("connected", count=2)
    bench.module.halt()
    bench.module.drained()
    assert bench.context.outputs["fmdata"].lost == 0
    assert [what for what, _ in bench.context.losses if "away for" in what]


def test_another_board_in_the_same_place_is_refused_until_the_right_one_is_back(
    make, socket, caplog
):
    bench = make()
    bench.send(Kind.WRITE_DIGITAL, 13, value=1)
    socket.unplug()
    bench.wait_for_event("lost")
    stranger = socket.plug(name="Other.ino")
    bench.wait_for_event("refused")
    assert "another board: it runs Other.ino, not StandardFirmata.ino" in caplog.text
    assert b"\xf5\x0d\x01" not in stranger.received
    socket.unplug()
    socket.plug().wait_for(b"\xf5\x0d\x01")
    assert bench.context.failures == []


def test_a_board_is_lost_and_found_again_and_again(make, socket):
    bench = make()
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    for count in range(2, 5):
        socket.unplug()
        bench.wait_for_event("lost", count=count - 1)
        socket.plug()
        bench.wait_for_readings(*[(2, 0)] * count)
    assert bench.context.failures == []


def test_a_run_that_ends_without_its_board_ends_at_once_and_leaks_nothing(make, socket):
    before = open_descriptors()
    bench = make()
    socket.unplug()
    bench.wait_for_event("lost")
    bench.module.halt()
    bench.module.stop()
    bench.module.drained()
    bench.module.close()
    bench.context.waiting.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("reconnect")]
    assert open_descriptors() <= before


def test_a_run_that_ends_while_a_board_boots_does_not_wait_for_it(make, socket):
    bench = make(handshake_timeout_s=60)
    socket.unplug()
    bench.wait_for_event("lost")
    socket.plug(mute=True)
    bench.wait_for_event("reopening")
    bench.module.close()
    bench.context.waiting.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("reconnect")]


def test_a_script_may_set_a_line_up_while_the_board_is_away(make, socket):
    bench = make()
    socket.unplug()
    bench.wait_for_event("lost")
    bench.ask(extra.pin_mode(PinMode.ANALOG), line=14)
    socket.plug().wait_for(b"\xc0\x01")
    socket.board.send(b"\xe0\x07\x00")
    bench.wait_for_readings((14, 7))


def test_opening_and_closing_200_times_leaks_nothing(tmp_path, socket):
    counts = []
    for _ in range(200):
        bench = Bench(tmp_path, socket.board, address=str(socket.link))
        bench.module.prepare()
        bench.module.close()
        bench.context.waiting.close()
        counts.append((open_descriptors(), threading.active_count()))
    assert max(counts[10:]) <= counts[0]


@pytest.mark.parametrize("on_loss", ["continue", "stop"])
def test_what_was_sent_to_a_board_that_restarts_is_counted_since_its_last_sign_of_life(
    make, socket, on_loss
):
    bench = make(on_loss=on_loss)
    bench.set_input(2)
    bench.wait_for_readings((2, 0))
    socket.board.mute = True  # its supply breaks down
    for value in (1, 0, 1):
        bench.send(Kind.WRITE_DIGITAL, 13, value=value)
    socket.board.wait_for(b"\xf5\x0d\x01", count=2)
    socket.board.mute = False
    socket.board.send(b"\xf9\x02\x05" + sysex(0x79, (2, 5)))  # its greeting
    bench.wait_for_event("lost" if on_loss == "continue" else "restarted")
    assert "last sign of life at" in bench.rows("events")[1][2]
    bench.module.drained()
    count = bench.context.reports["messages_unproven"]
    assert count >= 4  # the mode and three values; more while the sign is younger than 20 ms
    (what,) = [what for what, _ in bench.context.losses if "may not have executed" in what]
    assert what.startswith(f"{count} message(s) were sent to ")


def test_messages_before_a_sign_of_life_are_proven():
    unproven, msec = Unproven(), 1_000_000
    for left in (0, 5, 40, 100, 130):
        unproven.sent(left * msec, sign_ns=0)
    assert unproven.take(sign_ns=61 * msec) == 2
    unproven.sent(0, sign_ns=0)
    unproven.sent(500 * msec, sign_ns=400 * msec)
    assert unproven.take(sign_ns=0) == 1
    assert unproven.take(sign_ns=0) == 0


def test_messages_to_a_board_that_says_nothing_for_long_keep_their_count():
    unproven = Unproven()
    for second in range(10_000):
        unproven.sent(second * 1_000_000_000, sign_ns=0)
    assert unproven.take(sign_ns=0) == 10_000
