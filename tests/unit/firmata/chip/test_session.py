"""The session with a chip: what it can do, its baud rate, its clock, and its edges."""

from __future__ import annotations

import itertools
import logging

import pytest

from mlink.errors import DeviceError
from mlink_drivers.firmata.chip.messages import (
    BaudAnswer,
    EventsLost,
    ExtensionId,
    Feature,
    SafeStateTripped,
)
from mlink_drivers.firmata.chip.session import PORT_USEC, STAMP_USEC, ChipSession
from mlink_drivers.firmata.wire.protocol import DigitalPort, PinState, Sysex
from tests.support.boards.fake_chip import (
    ALL_FEATURES,
    WAY_NS,
    FakeChip,
    baud_answer,
    edge_block,
    edge_watch,
    events_lost,
    now_ticks,
    safe_state_tripped,
)
from tests.support.manual_waiting import ManualWaiting


class Bench:
    """A chip session on a chip that answers at once; keeps what the callbacks were called with."""

    def __init__(self, **options):
        self.waiting = ManualWaiting()
        self.chip = FakeChip(self.waiting.now_ns)
        self.edges, self.states, self.events, self.missing, self.silences = [], [], [], [], []
        self.exchanges, self.refused = 0, []
        self.session = ChipSession(
            self.send,
            self.waiting,
            57_600,
            on_edge=lambda *edge: self.edges.append(edge),
            on_state=lambda *state: self.states.append(state),
            on_event=self.events.append,
            on_blocks_missing=self.missing.append,
            on_exchange=self._count,
            on_silence=self.silences.append,
            on_refused=self.refused.append,
            **options,
        )

    def _count(self, clock):
        self.exchanges += 1

    def send(self, data):
        for message in self.chip.answers(data):
            self.session.take(message, self.waiting.now_ns() + 2 * WAY_NS)

    def connected(self):
        """The session of a chip that was found and whose clock is known."""
        assert self.session.probe() is not None
        assert self.session.start_clock()
        self.session.close()
        return self.session

    def now_ticks(self):
        return now_ticks(self.waiting.now_ns())


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.session.close()


# -- features ------------------------------------------------------------------------------------


def test_a_board_with_the_extension_reports_its_features(bench):
    features = bench.session.probe()
    assert features is bench.session.features
    assert features.features == ALL_FEATURES
    assert features.tick_hz == 2_000_000
    assert features.edge_pins == frozenset(range(2, 14))
    assert bench.session.has(Feature.PULSES)


def test_an_answered_pin_state_without_features_ends_the_wait(bench):
    began_ns = bench.waiting.now_ns()
    bench.chip.has_extension = False
    assert bench.session.probe() is None
    assert not bench.session.has(Feature.PULSES)
    assert bench.waiting.now_ns() == began_ns


def test_a_board_that_answers_nothing_has_no_extension():
    session = ChipSession(lambda _data: None, ManualWaiting(), 57_600, on_edge=lambda *_: None)
    assert session.probe() is None


def test_probing_again_forgets_what_was_known(bench):
    session = bench.connected()
    bench.chip.has_extension = False
    assert session.probe() is None
    assert session.features is None
    assert session.clock is None
    assert not session.keeps_time
    assert session.uncertainty_usec == -1


def changed(sysex):
    """A features answer with a flipped bit in the frequency of the clock."""
    return Sysex(sysex.id, sysex.data[:7] + bytes((sysex.data[7] ^ 4,)) + sysex.data[8:])


@pytest.mark.parametrize(
    ("faults", "is_known"),
    [
        ([lambda answer: None], True),
        ([changed], True),
        ([lambda answer: None, lambda answer: None], False),
        ([changed, lambda answer: None], False),
    ],
)
def test_the_features_are_queried_until_two_answers_are_equal(bench, caplog, faults, is_known):
    answer = bench.chip._features
    bench.chip._features = lambda: (faults.pop(0) if faults else lambda found: found)(answer())
    features = bench.session.probe()
    assert (features is not None) is is_known
    if is_known:
        assert features.tick_hz == 2_000_000
    else:
        assert "the board's answers about its features differ or are missing" in caplog.text


def test_messages_that_are_not_of_the_extension_are_left_to_others(bench):
    session = bench.session
    assert not session.take(PinState(0, 1, 0), 0)  # nothing was asked: the answer to a script
    assert not session.take(events_lost(1), 0)  # before the features, another firmware's own
    session.probe()
    assert not session.take(DigitalPort(0, 1), 0)
    assert not session.take(PinState(0, 1, 0), 0)
    assert not session.take(Sysex(0x0E, b"\1"), 0)
    assert session.take(Sysex(ExtensionId.EDGES, b"\2\0"), 0)  # cut short
    assert bench.refused == ["a wrong format"]
    assert session.take(events_lost(1), 0)
    assert bench.events == [EventsLost(1)]


# -- baud rate -----------------------------------------------------------------------------------


class TestRaisingTheBaudRate:
    """Both ends change together, or neither does."""

    @pytest.fixture
    def rates(self, bench):
        bench.session.probe()
        bench.chip.sent.clear()
        return []

    def test_it_is_raised_to_what_both_can(self, bench, rates):
        bench.chip.highest_baud = 500_000
        bench.session.probe()
        assert bench.session.raise_baud(1_000_000, rates.append)
        assert rates == [500_000]
        assert bench.session.baud_rate == 500_000

    def test_a_refusal_leaves_both_ends_as_they_are(self, bench, rates, caplog):
        bench.chip.refuses_baud = True
        assert not bench.session.raise_baud(1_000_000, rates.append)
        assert rates == []
        assert bench.session.baud_rate == 57_600
        assert "57600" in caplog.text

    def test_without_a_confirmation_the_host_goes_back(self, bench, rates, caplog):
        bench.chip.confirms_baud = False
        assert not bench.session.raise_baud(1_000_000, rates.append)
        assert rates == [1_000_000, 57_600]
        assert bench.session.baud_rate == 57_600
        assert "1000000 baud" in caplog.text

    def test_a_port_that_does_not_know_the_rate_goes_back(self, bench, rates, caplog):
        caplog.set_level(logging.INFO)

        def set_baud_rate(baud_rate):
            rates.append(baud_rate)
            if baud_rate == 1_000_000:
                raise OSError("not this one")

        assert not bench.session.raise_baud(1_000_000, set_baud_rate)
        assert rates == [1_000_000, 57_600]
        assert "not this one" in caplog.text

    def test_a_confirmation_of_another_rate_does_not_count(self, bench, rates):
        answer = bench.chip._answer
        bench.chip._answer = lambda sysex_id, body: (
            baud_answer(1, 57_600) if body == b"\1" else answer(sysex_id, body)
        )
        assert not bench.session.raise_baud(1_000_000, rates.append)
        assert rates == [1_000_000, 57_600]

    @pytest.mark.parametrize(
        ("features", "highest_baud"), [(ALL_FEATURES & ~Feature.BAUD, 1_000_000), (ALL_FEATURES, 0)]
    )
    def test_a_board_without_a_rate_to_change_is_not_asked(
        self, bench, rates, features, highest_baud
    ):
        bench.chip.features, bench.chip.highest_baud = features, highest_baud
        bench.session.probe()
        bench.chip.sent.clear()
        assert not bench.session.raise_baud(1_000_000, rates.append)
        assert (bench.chip.sent, rates) == ([], [])


def test_a_board_that_fell_back_by_itself_is_an_event(bench):
    bench.session.probe()
    bench.session.take(baud_answer(BaudAnswer.FELL_BACK, 57_600), 0)
    assert bench.events == [BaudAnswer(BaudAnswer.FELL_BACK, False, 57_600)]


# -- clock ---------------------------------------------------------------------------------------


def test_the_clock_is_learnt_and_asked_on_until_it_is_closed(bench):
    bench.session.probe()
    assert bench.session.start_clock()
    assert bench.session.keeps_time
    before_ns = bench.waiting.now_ns()
    assert abs(bench.session.time_ns(bench.now_ticks()) - before_ns) < 1_000_000
    stated_usec = bench.session.clock.uncertainty_usec + STAMP_USEC
    assert bench.session.uncertainty_usec == stated_usec + PORT_USEC  # a firmware without ONE_TIME
    asked = len(bench.chip.sent)
    bench.waiting.advance(1)
    assert len(bench.chip.sent) > asked
    bench.session.close()
    asked = len(bench.chip.sent)
    bench.waiting.advance(10)
    assert len(bench.chip.sent) == asked


def test_a_clock_that_does_not_answer_is_not_known(bench):
    bench.session.probe()
    bench.chip.keeps_time = False
    assert not bench.session.start_clock()
    assert not bench.session.keeps_time
    assert not bench.session.stamps(7)


def test_a_clock_that_begins_anew_forgets_the_numbers(bench):
    session = bench.connected()
    session.take(edge_block(5, [(7, True, bench.now_ticks())]), 0)
    session.take(edge_block(6, [(7, False, bench.now_ticks())]), 0)
    assert session.start_clock()
    session.close()
    for number in (90, 91, 92):
        session.take(edge_block(number, [(7, False, bench.now_ticks())]), 0)
    assert bench.missing == []
    assert len(bench.edges) == 5


def pauses_of(bench, questions):
    """The pauses between the first questions, in ms."""
    asked_ns = []
    queries = bench.session._queries
    send = queries._send
    queries._send = lambda data: (asked_ns.append(bench.waiting.now_ns()), send(data))
    bench.session.start_clock()
    bench.waiting.until(lambda: len(asked_ns) == questions, 3600)
    return [round((b - a) / 1e6) for a, b in itertools.pairwise(asked_ns)]


def test_it_is_asked_quickly_at_first_and_then_at_the_steady_pause():
    bench = Bench(pause_s=0.1)
    bench.session.probe()
    pauses = pauses_of(bench, 200)
    assert pauses[:16] == [20] * 16
    assert pauses == sorted(pauses)
    assert pauses[-1] == 100
    assert bench.exchanges == 199  # one after each but the first question
    assert bench.silences == []


def test_a_steady_pause_that_is_shorter_than_the_first_is_kept():
    bench = Bench(pause_s=0.01)
    bench.session.probe()
    assert set(pauses_of(bench, 40)) == {10}


@pytest.mark.parametrize("exchanges", [0, 100])
@pytest.mark.parametrize("pause_s", [0.1, 0.25, 1.0])
def test_a_board_that_answers_no_more_is_reported_once_after_5_s(pause_s, exchanges):
    bench = Bench(pause_s=pause_s)
    bench.session.probe()
    bench.session.start_clock()
    while bench.exchanges < exchanges:
        bench.waiting.advance(0.01)
    bench.chip.keeps_time = False
    since_ns, silent_ns = bench.waiting.now_ns(), []
    while bench.waiting.now_ns() - since_ns < 60_000_000_000:
        bench.waiting.advance(0.1)
        if bench.silences and not silent_ns:
            silent_ns.append(bench.waiting.now_ns())
    assert 4.5 <= (silent_ns[0] - since_ns) / 1e9 <= 5.0 + 2 * pause_s + 0.2
    (error,) = bench.silences
    assert "for 5 s" in error.message
    assert "20,000" in error.remedy


def test_one_answer_starts_the_count_of_unanswered_questions_again():
    bench = Bench()
    bench.session.probe()
    bench.chip.sent.clear()
    answer = bench.chip._answer
    bench.chip._answer = lambda sysex_id, body: (
        answer(sysex_id, body) if len(bench.chip.sent) == 15 else None
    )
    bench.session.start_clock()
    bench.waiting.advance(4)
    assert bench.silences == []
    bench.waiting.advance(60)
    assert len(bench.silences) == 1


def test_a_lost_board_ends_the_questions_without_a_report_of_its_own(bench):
    bench.session.probe()

    def send(data):
        raise DeviceError("gone")

    bench.session._queries._send = send
    assert not bench.session.start_clock()
    assert not bench.waiting.pending
    assert bench.silences == []


# -- edges and levels ----------------------------------------------------------------------------


def near(time_ns):
    """What the clock makes of a time: the fake chip's exchanges take 2 ms."""
    return pytest.approx(time_ns, abs=1_000_000)


def test_edges_come_with_their_pin_level_and_time(bench):
    session = bench.connected()
    now_ns, ticks = bench.waiting.now_ns(), bench.now_ticks()
    assert session.take(edge_block(0, [(7, True, ticks - 2000), (8, False, ticks)]), now_ns)
    assert bench.edges == [(7, True, near(now_ns - 1_000_000)), (8, False, near(now_ns))]


def test_a_number_that_its_neighbours_do_not_confirm_is_no_loss(bench):
    session = bench.connected()
    for number in range(10):
        session.take(edge_block(number ^ 0x40 * (number == 5), [(7, True, bench.now_ticks())]), 0)
    assert (bench.missing, len(bench.edges)) == ([], 10)
    for number in (12, 13, 15, 80, 17, 18):  # 10, 11 and 14 are lost, and a bit of 16 was changed
        session.take(edge_block(number, []), 0)
    assert bench.missing == [2, 1]


def test_a_gap_before_a_quiet_time_counts(bench):
    bench.session.probe()
    bench.session.start_clock()
    for number in (126, 127, 0, 3):
        bench.session.take(edge_block(number, []), 0)
    assert bench.missing == []
    bench.waiting.advance(1)
    assert bench.missing == [2]
    bench.session.take(edge_block(4, []), 0)
    bench.waiting.advance(1)
    assert bench.missing == [2]


# -- times that cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize("bit", range(21, 32))
@pytest.mark.parametrize("sooner", [False, True])
def test_a_wrong_time_is_refused_and_changes_no_other(bench, bit, sooner):
    session = bench.connected()
    for number in range(98, 128):
        bench.waiting.advance(0.1)  # what was there before the start has arrived
        session.take(edge_block(number, []), bench.waiting.now_ns())
    for number in range(8):
        bench.waiting.advance(0.1)
        right = bench.now_ticks() - 100
        wrong = (right + (-1 if sooner else 1) * (1 << bit)) % (1 << 32)
        ticks = wrong if number == 3 else right
        session.take(edge_block(number, [(7, number % 2 == 0, ticks)]), bench.waiting.now_ns())
        assert len(bench.edges) == number + (number < 3)
        assert number == 3 or bench.edges[-1][2] == near(bench.waiting.now_ns() - 50_000)
    (reason,) = bench.refused
    # the half of the range that is nearest: the last bit is both
    assert reason in ("a time later than its arrival", "a time that is too old")
    assert ("old" in reason) is sooner or bit == 31
    assert bench.missing == [1]


def test_without_check_values_a_block_is_not_older_than_the_one_before(bench):
    session = bench.connected()
    for number, back in enumerate((0, 0, 3000, 0, 0)):
        bench.waiting.advance(0.001)
        session.take(edge_block(number, [(7, True, bench.now_ticks() - 100 - back)]), 0)
    assert bench.refused == ["a time before that of the edge before"]
    assert len(bench.edges) == 4
    assert bench.missing == [1]


def test_edges_that_waited_unread_are_not_too_old(bench):
    session = bench.connected()
    begin_ns = bench.waiting.now_ns()
    blocks = [
        edge_block(number % 128, [(7, number % 2 == 0, now_ticks(begin_ns + number * 1_000_000))])
        for number in range(5000)
    ]
    bench.waiting.advance(10)  # this process was stopped
    for block in blocks:
        session.take(block, bench.waiting.now_ns())
    assert (bench.refused, bench.missing, len(bench.edges)) == ([], [], 5000)
    bench.waiting.advance(11)
    session.take(edge_block(5000 % 128, []), bench.waiting.now_ns())
    bench.waiting.advance(0.1)
    session.take(edge_block(5001 % 128, [(7, True, now_ticks(begin_ns + 10_000_000_000))]), 0)
    assert bench.refused == []  # the pause of 11 s was just now
    bench.waiting.advance(12)
    for number in range(2, 22):
        bench.waiting.advance(1)
        session.take(edge_block((5000 + number) % 128, []), bench.waiting.now_ns())
    session.take(edge_block(5022 % 128, [(7, True, now_ticks(begin_ns))]), 0)
    assert bench.refused == ["a time that is too old"]


def test_edges_of_a_long_message_may_be_later_than_the_arrival_of_its_first_byte(bench):
    session = bench.connected()
    begin_ns = bench.waiting.now_ns()
    block = edge_block(0, [(7, True, now_ticks(begin_ns + 20_000_000))])
    bench.waiting.advance(0.03)  # its bytes, during which the chip went on adding edges
    session.take(block, begin_ns)
    assert bench.refused == []
    assert bench.edges == [(7, True, near(begin_ns + 20_000_000))]


def test_levels_with_times_that_cannot_be_are_refused(bench):
    session = bench.connected()
    later = (bench.now_ticks() + 200_000) % (1 << 32)
    assert session.take(edge_watch(7, True, later), bench.waiting.now_ns())
    assert (bench.states, bench.refused) == ([], ["a time later than its arrival"])


def test_before_the_clock_is_known_edges_and_levels_have_no_time_and_are_dropped(bench):
    bench.session.probe()
    assert bench.session.take(edge_block(0, [(7, True, 10)]), 0)
    assert bench.session.take(edge_watch(7, True, 10), 0)
    for number in (1, 3, 4):
        assert bench.session.take(edge_block(number, [(7, False, 20)]), 0)
    assert (bench.edges, bench.states) == ([], [])
    assert bench.missing == [1]


def test_the_level_of_a_line_that_is_watched_comes_with_its_time(bench):
    session = bench.connected()
    now_ns = bench.waiting.now_ns()
    assert session.take(edge_watch(7, True, bench.now_ticks()), now_ns)
    assert bench.states == [(7, True, near(now_ns))]


@pytest.mark.parametrize(
    ("line", "features", "stamps"),
    [(7, ALL_FEATURES, True), (1, ALL_FEATURES, False), (7, ALL_FEATURES & ~Feature.EDGES, False)],
)
def test_only_lines_with_an_interrupt_are_stamped(bench, line, features, stamps):
    bench.chip.features = features
    assert bench.connected().stamps(line) is stamps


def test_everything_else_is_an_event(bench):
    session = bench.connected()
    session.take(safe_state_tripped(5), 0)
    assert bench.events == [SafeStateTripped(5)]
