"""Verdicts: a deadline inside the uncertainty of the times is inconclusive."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from mlink.errors import BenchError
from mlink.metadata import MetaSize
from mlink_hil.testing.bench import TestBench
from mlink_hil.testing.handles.cameras import Camera
from mlink_hil.testing.handles.measurements import Measurement
from mlink_hil.testing.observed.events import Event, Span, Window, rate_of
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.patterns import Bound, crosses, frame, reading, row
from mlink_hil.testing.verdicts import (
    ExpectationFailed,
    Inconclusive,
    Inside,
    Verdict,
    limits_verdict,
    raise_unless_passed,
)
from tests.support.sights import ALL_SEEN


def at(time_usec: int, bound: int = 0) -> Event:
    return Event("uno.8", time_usec, 1, bound, bound, previous=0)


PRESS = Event("uno.7", 1000, caused=True)


def sort(events, window):
    return Inside.sort(((event, True) for event in events), window)


def test_a_span_has_the_bounds_of_both_its_ends():
    span = at(3000, 100).since(Event("uno.7", 1000, early_usec=10, late_usec=20))
    assert span == Span(2000, 1880, 2110)
    assert str(span) == "2000 µs (1880 to 2110)"


@pytest.mark.parametrize(
    ("time_usec", "bound", "held"),
    [
        (2900, 0, True),
        (3000, 0, True),
        (3001, 0, False),
        (2900, 100, True),
        (2901, 100, None),
        (3100, 100, None),
        (3101, 100, False),
        (1000, 0, True),
        (999, 0, False),
        (999, 1, None),
    ],
)
def test_a_window_of_2_ms_holds(time_usec, bound, held):
    assert Window(PRESS, 0, 2000).holds(at(time_usec, bound)) is held


def test_an_event_that_came_after_the_test_acted_is_after_it_if_it_may_be():
    press = Event("uno.7", 1000, caused=True, noted_ns=500)
    early = Event("board.fmdata.7", 950, 0, 100, 100, previous=1, noted_ns=900)
    assert Window(press, 0, 2000).holds(early) is True
    known = Event("board.fmdata.7", 950, 0, 100, 100, previous=1, noted_ns=400)
    assert Window(press, 0, 2000).holds(known) is None
    too_early = Event("board.fmdata.7", 850, 0, 100, 100, previous=1, noted_ns=900)
    assert Window(press, 0, 2000).holds(too_early) is False


def test_an_event_nominally_after_the_stimulus_is_after_it_however_uncertain():
    assert Window(PRESS, 0, 2000).holds(at(1500, 1000 - 500)) is True
    assert Window(PRESS, 0, 3000).holds(at(1500, 1000)) is True


@pytest.mark.parametrize(
    ("time_usec", "bound", "held"),
    [(900, 0, True), (1100, 0, True), (899, 0, False), (899, 1, None), (1101, 1, None)],
)
def test_a_window_around_an_event_is_as_strict_on_both_sides(time_usec, bound, held):
    assert Window(PRESS, -100, 100).holds(at(time_usec, bound)) is held


def test_one_sure_event_passes_and_one_possible_is_inconclusive():
    window = Window(PRESS, 0, 2000)
    assert sort([at(1500)], window).some() is Verdict.PASS
    assert sort([at(3000, 5)], window).some() is Verdict.INCONCLUSIVE
    assert sort([at(3000, 5), at(1500)], window).some() is Verdict.PASS
    assert sort([at(4000)], window).some() is Verdict.FAIL


def test_the_verdict_on_absence_is_the_opposite_unless_it_is_inconclusive():
    window = Window(PRESS, 0, 2000)
    assert sort([at(1500)], window).none() is Verdict.FAIL
    assert sort([at(3000, 5)], window).none() is Verdict.INCONCLUSIVE
    assert sort([], window).none() is Verdict.PASS


@pytest.mark.parametrize(
    ("times", "at_least", "at_most", "verdict"),
    [
        ([(1500, 0), (1600, 0)], 2, 2, Verdict.PASS),
        ([(1500, 0), (1600, 0)], 3, 3, Verdict.FAIL),
        ([(1500, 0), (1600, 0)], 0, 1, Verdict.FAIL),
        ([(1500, 0), (3000, 9)], 2, 2, Verdict.INCONCLUSIVE),
        ([(1500, 0), (3000, 9)], 1, None, Verdict.PASS),
        ([(1500, 0), (3000, 9)], 0, 1, Verdict.INCONCLUSIVE),
        ([(1500, 0), (3000, 9)], 3, None, Verdict.FAIL),
    ],
)
def test_a_count_is_judged_by_what_is_sure_and_what_is_possible(times, at_least, at_most, verdict):
    inside = sort([at(*each) for each in times], Window(PRESS, 0, 2000))
    assert inside.count(at_least, at_most) is verdict


@pytest.mark.parametrize(
    ("lowest", "highest", "verdict"),
    [
        (1, 2, Verdict.PASS),
        (4, 6, Verdict.INCONCLUSIVE),
        (6, 7, Verdict.FAIL),
        (-1, 1, Verdict.INCONCLUSIVE),
        (-2, -1, Verdict.FAIL),
    ],
)
def test_limits_judge_a_range(lowest, highest, verdict):
    assert limits_verdict(lowest, highest, 0, 5) is verdict


def test_a_measurement_takes_the_bounds_and_the_unit_of_a_span():
    measured = Measurement.judge("latency", Span(1500, 1400, 1600), "", None, 2000)
    assert str(measured) == "latency = 1500 µs (1400 to 1600), limits ≤ 2000: pass"
    assert Measurement.judge("x", Span(1500, 1400, 1600), "", None, 1550).outcome is (
        Verdict.INCONCLUSIVE
    )
    assert Measurement.judge("x", 3, "V", 4, None).as_plain()["outcome"] == "fail"


def test_fail_and_inconclusive_raise_different_exceptions():
    with pytest.raises(ExpectationFailed, match="it was late"):
        raise_unless_passed(Verdict.FAIL, ["it was late"])
    with pytest.raises(Inconclusive):
        raise_unless_passed(Verdict.INCONCLUSIVE, ["it may have been late"])
    assert not issubclass(Inconclusive, AssertionError)
    raise_unless_passed(Verdict.PASS, [])


def test_a_rate_has_the_bounds_of_its_first_and_last_times():
    ticks = [at(100_000 * n, 500) for n in range(11)]
    lowest, nominal, highest = rate_of(ticks)
    assert nominal == 10
    assert lowest == pytest.approx(10 / 1.001)
    assert highest == pytest.approx(10 / 0.999)
    assert rate_of(ticks[:1]) == (0, 0, 0)


# a slow host ------------------------------------------------------------------------------------


def run_on_slow_host(slow, events, *, now_usec):
    """Return what a TestBench needs of a run that is over, on a host slower by this factor."""
    history = History()
    history.add(events)
    history.end()
    return SimpleNamespace(
        boards={},
        slow=slow,
        alive=False,
        history=history,
        names=SimpleNamespace(frame_streams=list),
        sight=ALL_SEEN,
        is_exact=lambda _channel: False,
        now_usec=lambda: now_usec,
        to_usec=lambda _ns: now_usec,
        check=lambda: None,
        let_run=lambda: None,
        processor_times=dict,
        starved_usec=lambda _since=None: {},
    )


def edges_of(_names):
    return Bound("uno.8", lambda _event: True, "edge on uno.8")


def test_on_a_slow_host_a_limit_of_a_duration_is_longer_and_no_other_one():
    bench = TestBench(run_on_slow_host(10, [], now_usec=0))
    assert bench.measure("trip", 90, "µs", at_most=10).outcome is Verdict.PASS
    assert bench.measure("late", Span(90, 80, 95), at_most=10).outcome is Verdict.PASS
    with pytest.raises(ExpectationFailed):
        bench.measure("trip", 101, "µs", at_most=10)
    with pytest.raises(ExpectationFailed):
        bench.measure("presses", 2, at_most=1)


def test_on_a_slow_host_what_is_missing_of_a_count_may_come_later():
    late = [at(2000), at(3000), at(50_000)]
    bench = TestBench(run_on_slow_host(10, late, now_usec=0))
    assert len(bench.expect_count(edges_of, 3, within_usec=9000, after=PRESS)) == 3
    # but what is too much is so within the time that was asked for
    assert len(bench.expect_count(edges_of, 2, within_usec=9000, after=PRESS)) == 2
    with pytest.raises(ExpectationFailed, match=r"3 × edge on uno.8 within 90000 µs .* not 4"):
        bench.expect_count(edges_of, 4, within_usec=9000, after=PRESS)
    with pytest.raises(ExpectationFailed, match=r"2 × edge on uno.8 within 9000 µs .* not 1"):
        bench.expect_count(edges_of, 1, within_usec=9000, after=PRESS)


def test_on_a_slow_host_a_rate_is_counted_for_longer():
    ticks = [at(100_000 * n) for n in range(100)]
    ticks[3] = at(360_000)  # late by 60 ms
    bench = TestBench(run_on_slow_host(20, ticks, now_usec=0))
    assert bench.expect_rate(edges_of, 10, tolerance=0.02, for_usec=350_000) == pytest.approx(10)


def test_a_rate_within_the_uncertainty_of_its_times_is_inconclusive():
    ticks = [at(100_000 * n, 5000) for n in range(11)]
    bench = TestBench(run_on_slow_host(1, ticks, now_usec=0))
    with pytest.raises(Inconclusive, match=r"undecided whether at 10 Hz ± 0.5%"):
        bench.expect_rate(edges_of, 10, tolerance=0.005)
    with pytest.raises(ExpectationFailed, match=r"came at 10.000 Hz .*, not at 12 Hz"):
        bench.expect_rate(edges_of, 12)


# a busy host ------------------------------------------------------------------------------------


def test_what_the_host_kept_waiting_lowers_the_lower_bound_of_a_duration():
    answer = Event("uno.8", 9000, 1, waited_usec=3000)
    assert answer.since(PRESS) == Span(8000, 5000, 8000)


def test_a_limit_that_only_the_wait_exceeds_is_inconclusive():
    span = Event("uno.8", 9000, 1, waited_usec=3000).since(PRESS)
    assert Measurement.judge("late", span, "", None, 4999).outcome is Verdict.FAIL
    assert Measurement.judge("late", span, "", None, 5000).outcome is Verdict.INCONCLUSIVE
    assert Measurement.judge("late", span, "", None, 8000).outcome is Verdict.PASS


def test_a_measurement_of_virtual_time_is_marked():
    history = History()
    history.let_pass = lambda done, _timeout_sec: done()
    run = run_on_slow_host(1, [], now_usec=0)
    run.history = history
    measured = TestBench(run).measure("press to light", 1370, "µs", at_most=2000)
    assert str(measured) == "press to light = 1370 µs, limits ≤ 2000, virtual time: pass"
    assert measured.as_plain()["virtual"]


def test_a_quantile_of_spans_is_one_of_their_bounds_too():
    spans = [Span(n, n - 10, n + 5) for n in (100, 200, 300, 400, 500)]
    assert Span.quantile(spans, 0.25) == Span(200, 190, 205)


def test_a_host_whose_waits_never_end_still_ends_an_expectation():
    waits_usec = itertools.count(1_000_000, 1_000_000)  # more at each look
    run = SimpleNamespace(
        boards={},
        slow=1,
        alive=True,
        history=History(),
        names=SimpleNamespace(frame_streams=list),
        now_usec=lambda: 10**12,  # every deadline is over
        sight=ALL_SEEN,
        is_exact=lambda _channel: False,
        check=lambda: None,
        let_run=lambda: None,
        processor_times=dict,
        starved_usec=lambda _since: {"ml:loop": next(waits_usec)},
    )
    never = Bound("uno.8", lambda _event: False, "rising edge on uno.8")
    with pytest.raises(Inconclusive, match=r"this machine was busy.*ml:loop 6000000 µs"):
        TestBench(run).expect(lambda _names: never, within_usec=2000, after=PRESS)


@pytest.mark.parametrize(
    ("unit", "waited_usec", "raised"),
    [
        ("µs", 300_000, Inconclusive),  # of a second
        ("Hz", 300_000, Inconclusive),
        ("µs", 200_000, ExpectationFailed),
        ("", 300_000, ExpectationFailed),
    ],
)
def test_a_time_measured_while_the_loop_waited_for_a_processor_is_inconclusive(
    unit, waited_usec, raised
):
    now_usec = itertools.count(0, 1_000_000)  # the test begins at 0
    over = []
    run = SimpleNamespace(
        boards={},
        slow=1,
        history=History(),
        now_usec=lambda: next(now_usec),
        processor_times=dict,
        let_run=lambda: over.append(True),
        starved_usec=lambda _since: {"ml:loop": waited_usec if over else 0},
    )
    with pytest.raises(raised, match="limits ≤ 1"):
        TestBench(run).measure("it", 2, unit, at_most=1)


# wrong arguments --------------------------------------------------------------------------------

WRONG = {
    "no time": lambda b: b.expect_none(edges_of, for_usec=0),
    "a negative time": lambda b: b.expect_none(edges_of, for_usec=-5),
    "no number": lambda b: b.expect_none(edges_of, for_usec=float("nan")),
    "text": lambda b: b.expect_none(edges_of, for_usec="1 s"),
    "without end": lambda b: b.expect_none(edges_of, for_usec=float("inf")),
    "negative within": lambda b: b.expect(edges_of, within_usec=-1),
    "ends before it begins": lambda b: b.expect(edges_of, within_usec=5, not_before_usec=6),
    "after and around": lambda b: b.expect(edges_of, within_usec=5, after=PRESS, around=PRESS),
    "around, not before": lambda b: b.expect(
        edges_of, within_usec=5, not_before_usec=1, around=PRESS
    ),
    "any count": lambda b: b.expect_count(edges_of, within_usec=5),
    "at least none": lambda b: b.expect_count(edges_of, at_least=0, within_usec=5),
    "half an event": lambda b: b.expect_count(edges_of, 15.5, within_usec=5),
    "negative count": lambda b: b.expect_count(edges_of, at_most=-1, within_usec=5),
    "empty limits": lambda b: b.expect_count(edges_of, at_least=5, at_most=3, within_usec=5),
    "number and limit": lambda b: b.expect_count(edges_of, 4, at_least=3, within_usec=5),
    "count in no time": lambda b: b.expect_count(edges_of, at_most=3, within_usec=0),
    "no rate": lambda b: b.expect_rate(edges_of, 0),
    "any rate": lambda b: b.expect_rate(edges_of, 500, tolerance=5),
    "rate in no time": lambda b: b.expect_rate(edges_of, 500, for_usec=0),
    "empty sequence": lambda b: b.expect_sequence(within_usec=5),
    "sequence in no time": lambda b: b.expect_sequence(edges_of, within_usec=-5),
    "after a number": lambda b: b.expect(edges_of, within_usec=5, after=2000),
    "around a text": lambda b: b.expect(edges_of, within_usec=5, around="press"),
    "none after a time": lambda b: b.expect_none(edges_of, for_usec=5, after=1.5),
    "count after a list": lambda b: b.expect_count(edges_of, 1, within_usec=5, after=[PRESS]),
}


@pytest.mark.parametrize(
    ("area", "words"),
    [
        ((0, 0, 0, 5), r"region\(width=0\): a whole number, 1 or higher"),
        ((-1, 0, 5, 5), r"region\(x=-1\): a whole number, 0 or higher"),
        ((0, 1.5, 5, 5), r"region\(y=1.5\)"),
        (("0", 0, 5, 5), r"region\(x='0'\)"),
        ((0, 0, 5, None), r"region\(height=None\)"),
        ((60, 0, 5, 5), r"region\(x=60, y=0, width=5, height=5\) is not inside .* 64×48 pixels"),
        ((0, 44, 64, 5), "not inside"),
    ],
)
def test_a_region_that_no_picture_has_is_refused(area, words):
    def watch_region(*_):
        raise AssertionError("it was watched")

    tap = SimpleNamespace(metadata={"cam.video": {"size": MetaSize(64, 48)}})
    camera = Camera(SimpleNamespace(tap=tap, watch_region=watch_region), "cam.video", None)
    with pytest.raises(BenchError, match=words) as refused:
        camera.region(*area)
    assert refused.value.remedy
    for index in ("1", 1.5, None, -2):
        with pytest.raises(BenchError, match=r"picture\(index="):
            camera.picture(index)
        with pytest.raises(BenchError, match=r"frame\(index="):
            camera.frame(index)
    with pytest.raises(BenchError, match=r"wait_picture\(after="):
        camera.wait_picture(bool, within_usec=5, after=None)


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_pass_or_fail_whatever_comes_is_refused_with_a_remedy(kind):
    bench = TestBench(run_on_slow_host(1, [at(2000)], now_usec=10_000))
    with pytest.raises(BenchError, match=r"^expect\w*\(") as refused:
        WRONG[kind](bench)
    assert refused.value.remedy
    assert not bench.deadlines  # nothing was waited for


@pytest.mark.parametrize(
    "pattern",
    [
        lambda: reading(7, at_least=5, at_most=3),
        lambda: reading(7, value=9, at_most=3),
        lambda: reading(7, value=2, at_least=3),
        lambda: reading(7, at_least=float("nan")),
        lambda: frame(index=-1),
        lambda: crosses("cam.video[0,0 2×2]", float("nan"), upwards=True),
        lambda: crosses("cam.video[0,0 2×2]", 0, upwards=False),
    ],
)
def test_a_pattern_that_nothing_can_match_is_refused(pattern):
    with pytest.raises(BenchError) as refused:
        pattern()
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("cell", "value", "matches"),
    [
        ("110", 110, True),
        ("110", 110.0, True),
        ("110.0", 110, True),
        ("1.1e2", 110, True),
        ("0.1", 0.1, True),
        ("0.1", np.float32(0.1), True),
        ("7", np.int64(7), True),
        ("9007199254740993", 9007199254740993, True),
        ("9007199254740993", 9007199254740992, False),  # equal only as floats
        ("1_1", 11, False),
        ("110", 111.0, False),
        ("", 0, False),
        ("high", 1.0, False),
        ("inf", 1, False),
        ("nan", float("nan"), True),
        ("110", "110", True),
        ("110", "110.0", False),  # text is compared as text
        ("true", True, True),
        ("False", False, True),
        ("1", True, False),
        ("True", 1, False),
        ("None", None, True),
    ],
)
def test_a_number_matches_each_text_of_its_value_in_a_cell(cell, value, matches):
    names = SimpleNamespace(row_stream=lambda _table: "loop.rows", columns=lambda _stream: ["n"])
    bound = row("loop.rows", n=value)(names)
    assert bound.matches(Event("loop.rows", 0, cells=(cell,))) is matches
