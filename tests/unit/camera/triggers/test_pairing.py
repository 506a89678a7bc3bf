"""Frames and edges, with losses on both sides, against what a simulated camera has really done."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from mlink_drivers.camera.triggers.edges import StrobeEdges, TrainEdges
from mlink_drivers.camera.triggers.pairing import LeadIn, Pairing, Verdict
from mlink_drivers.trigger import LEAD_SPACING_USEC, EdgeRow

PERIOD = 10_000
DELAY = 23_400  # more than two periods


class Taken(NamedTuple):
    """A frame of the camera: its stamp and number, and the edge that caused it (None: none)."""

    stamp: int
    number: int
    edge: int | None


def train(delay: float = DELAY) -> Pairing:
    edges = TrainEdges()
    edges.take(EdgeRow(0, 9, "train", 0, PERIOD))
    pairing = Pairing(edges, sends_untriggered=False)
    pairing.delay_usec = delay
    return pairing


def play(pairing: Pairing, frames: list[Taken]) -> list[tuple[Taken, Verdict]]:
    """Return each frame with its verdict, in order."""
    done: list[tuple[Taken, Verdict]] = []
    held: Taken | None = None
    for frame in frames:
        settled, verdict = pairing.take(frame.stamp, frame.number)
        if settled is not None:
            assert held is not None
            done.append((held, settled))
        held = frame if verdict.kind == "hold" else None
        if held is None:
            done.append((frame, verdict))
    if (last := pairing.flush()) is not None:
        assert held is not None
        done.append((held, last))
    return done


def camera(
    edges: int, seed: int, *, numbered: bool = True, ignored: float = 0.0, lost: float = 0.0,
    extra: float = 0.0, jitter: int = 0, late: float = 0.0, burst: int = 1,
) -> tuple[list[Taken], list[Taken]]:  # fmt: skip
    """Return the frames that a camera has sent, and all that it has taken.

    Args:
        edges: Length of the train.
        seed: Of all chances.
        numbered: Whether the camera numbers its frames.
        ignored: Chance of triggers that are ignored.
        lost: Chance of frames that are lost on the way.
        extra: Chance of a frame without a trigger.
        jitter: Of the stamps, µs.
        late: Chance of a machine that stands for up to five periods.
        burst: As many triggers or frames in a row, at most, are ignored or lost.
    """
    chance = random.Random(seed)
    taken, number, dark = [], 0, 0
    for edge in range(edges):
        if edge >= dark and chance.random() < ignored:
            dark = edge + chance.randint(1, burst)
        if edge >= dark:
            taken.append(Taken(edge * PERIOD + DELAY + chance.randint(0, jitter), number, edge))
            number += 1
        if chance.random() < extra:
            taken.append(Taken(edge * PERIOD + DELAY + round(0.45 * PERIOD), number, None))
            number += 1
    sent, gap = [], 0
    for frame in taken:
        if frame.number >= gap and frame.number and chance.random() < lost:
            gap = frame.number + chance.randint(1, burst)
        if frame.number >= gap:
            sent.append(frame)
    stalled = 0
    for at, frame in enumerate(sent):
        if chance.random() < late and at > 3 and frame.stamp > stalled + 2 * PERIOD:
            stalled = frame.stamp + chance.randint(0, 5 * PERIOD)
        stamp = max(frame.stamp, stalled + at)  # all that come meanwhile are stamped at its end
        sent[at] = frame._replace(stamp=stamp, number=frame.number if numbered else -1)
    return sent, taken


def check(pairing: Pairing, frames: list[Taken], taken: list[Taken], edges: int) -> None:
    """Check each pairing, and that all that is missing is counted."""
    done = play(pairing, frames)
    wrong = [
        (frame, verdict)
        for frame, verdict in done
        if (verdict.index if verdict.kind == "send" else None) != frame.edge
    ]
    assert wrong == []
    assert all(verdict.time_usec == verdict.index * PERIOD
               for _, verdict in done if verdict.kind == "send")  # fmt: skip
    counts = pairing.counts
    last = pairing.last_edge
    assert last is not None
    caused = {frame.edge for frame in taken if frame.edge is not None}
    got = {frame.edge for frame in frames if frame.edge is not None}
    assert counts.paired == len(got)
    missing = counts.frames_lost + counts.triggers_ignored
    assert missing == last + 1 - len(got)
    assert missing == sum(verdict.missing for _, verdict in done)
    assert counts.untriggered == sum(frame.edge is None for frame in frames)
    if counts.untriggered == 0 and any(frame.number >= 0 for frame in frames):
        assert counts.frames_lost == len([e for e in caused - got if e <= last])
    assert edges > last


@pytest.mark.parametrize("seed", range(20))
def test_losses_of_a_numbered_camera_are_attributed(seed):
    frames, taken = camera(3000, seed, ignored=0.05, lost=0.05, jitter=600)
    check(train(), frames, taken, 3000)


@pytest.mark.parametrize("seed", range(20))
def test_losses_of_a_camera_without_numbers_show_by_the_intervals(seed):
    frames, taken = camera(3000, seed, numbered=False, ignored=0.05, lost=0.05, jitter=600)
    check(train(), frames, taken, 3000)


@pytest.mark.parametrize("seed", range(20))
def test_a_busy_machine_that_stamps_late_moves_no_frame(seed):
    frames, taken = camera(3000, seed, late=0.02, jitter=300)
    check(train(), frames, taken, 3000)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_pairing_is_right_again_after_any_number_of_losses_on_both_sides(seed, numbered):
    losses = {"ignored": 0.01, "lost": 0.01, "burst": 80}
    frames, taken = camera(3000, seed, numbered=numbered, jitter=600, **losses)
    check(train(), frames, taken, 3000)


@pytest.mark.parametrize("seed", range(10))
def test_frames_that_are_lost_while_stamps_are_late_leave_no_doubt_by_their_numbers(seed):
    frames, taken = camera(3000, seed, lost=0.01, burst=80, late=0.02, jitter=300)
    pairing = train()
    check(pairing, frames, taken, 3000)
    assert pairing.counts.doubtful == 0


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_what_nothing_can_tell_is_doubtful_and_over_with_the_late_stamps(seed, numbered):
    """Triggers that a camera ignores while stamps are late may be before or after its frames."""
    losses = {"ignored": 0.01, "lost": 0.01, "burst": 80}
    frames, _ = camera(3000, seed, numbered=numbered, late=0.02, jitter=300, **losses)
    pairing = train()
    stretch, longest = 0, 0
    for frame, verdict in play(pairing, frames):
        is_wrong = verdict.kind != "send" or verdict.index != frame.edge
        stretch = stretch + 1 if is_wrong else 0
        longest = max(longest, stretch)
    assert longest <= 6  # a machine stands for five periods
    assert pairing.counts.doubtful or not longest


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_frames_without_an_edge_are_found(seed, numbered):
    frames, taken = camera(3000, seed, numbered=numbered, extra=0.03, jitter=300)
    check(train(), frames, taken, 3000)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_frames_without_a_time_take_their_own_edges(seed):
    """A damaged frame is known by its number alone; others are lost or ignored beside it."""
    sent, taken = camera(3000, seed, ignored=0.03, lost=0.03, burst=5, jitter=600)
    chance = random.Random(seed)
    broken = {frame.edge for frame in sent[1:] if chance.random() < 0.1}
    pairing, held, done = train(), None, []
    for frame in sent:
        if frame.edge in broken:
            pairing.skip(frame.number)
            continue
        settled, verdict = pairing.take(frame.stamp, frame.number)
        done += [(held, settled)] if settled is not None else []
        held = frame if verdict.kind == "hold" else None
        done += [(frame, verdict)] if held is None else []
    assert held is None
    assert all(verdict.index == frame.edge for frame, verdict in done)
    counts, last = pairing.counts, done[-1][0].edge
    damaged = len([edge for edge in broken if edge < last])
    assert counts.frames_damaged == sum(verdict.damaged for _, verdict in done) == damaged
    assert pairing.take_damaged() == len(broken) - damaged
    assert pairing.take_damaged() == 0
    assert counts.untriggered == counts.doubtful == 0
    missing = last + 1 - len(done)
    assert counts.frames_lost + counts.triggers_ignored + damaged == missing
    got = {frame.edge for frame in sent}
    assert counts.frames_lost == len([f for f in taken if f.edge not in got and f.edge < last])


def test_damaged_frames_before_a_camera_counts_anew_are_counted_once():
    pairing = train()
    play(pairing, [Taken(DELAY, 0, 0)])
    pairing.skip(1)
    pairing.restart()
    pairing.skip(0)
    ((_, verdict),) = play(pairing, [Taken(DELAY + 9 * PERIOD, 1, 9)])
    assert (verdict.index, verdict.missing, verdict.damaged) == (9, 8, 2)
    assert pairing.counts.triggers_ignored == 6


def test_a_delay_that_changes_for_good_is_followed():
    frames = [Taken(e * PERIOD + DELAY + (3500 if e >= 50 else 0), e, e) for e in range(800)]
    pairing = train()
    check(pairing, frames, frames, 800)
    assert pairing.delay_usec == pytest.approx(DELAY + 3500, abs=20)


def test_a_chip_whose_clock_was_wrong_for_a_while_moves_no_frame():
    edges = TrainEdges()
    edges.take(EdgeRow(0, 9, "train", 0, PERIOD))
    pairing = Pairing(edges, sends_untriggered=False)
    pairing.delay_usec = DELAY
    verdicts = []
    for edge in range(300):
        if edge == 170:  # the host learns now what happened at edge 100
            edges.take(EdgeRow(170 * PERIOD + 43_400, 9, "train", 170, PERIOD))
        stamp = edge * PERIOD + DELAY + (43_400 if edge >= 100 else 0)
        settled, verdict = pairing.take(stamp, edge)
        verdicts += [each for each in (settled, verdict) if each and each.kind != "hold"]
    assert [verdict.index for verdict in verdicts] == list(range(300))
    assert pairing.delay_usec == pytest.approx(DELAY, abs=100)


def test_the_last_frame_is_not_kept_back():
    pairing = train()
    done = play(pairing, [Taken(DELAY, 0, 0), Taken(DELAY + 3 * PERIOD, 1, 3)])
    assert [verdict.index for _, verdict in done] == [0, 3]
    assert pairing.counts.triggers_ignored == 2


def test_a_camera_that_counts_anew_is_found_by_the_time():
    pairing = train()
    play(pairing, [Taken(DELAY + e * PERIOD, e, e) for e in range(10)])
    pairing.restart()
    done = play(pairing, [Taken(DELAY + e * PERIOD, e - 50, e) for e in range(50, 60)])
    assert [verdict.index for _, verdict in done] == list(range(50, 60))
    assert done[0][1].missing == 40


def strobe(seen: list[tuple[int, bool]]) -> StrobeEdges:
    """Return the edges that were seen, as (time, whether some may be missing before it)."""
    edges = StrobeEdges()
    for time_usec, doubt in seen:
        if doubt:
            edges.lose()
        edges.take(time_usec)
    return edges


@pytest.mark.parametrize("seed", range(10))
def test_lost_edges_of_a_strobe_are_told_from_lost_frames(seed):
    chance = random.Random(seed)
    seen, doubt = [(0, False), (PERIOD, False), (2 * PERIOD, False)], False
    unseen = set()
    for edge in range(3, 2000):
        if chance.random() < 0.05:
            unseen.add(edge)
            doubt = True
            continue
        seen.append((edge * PERIOD, doubt))
        doubt = False
    pairing = Pairing(strobe(seen), sends_untriggered=True)
    pairing.delay_usec = DELAY
    frames, taken = camera(1990, seed, lost=0.05, jitter=300)
    done = play(pairing, frames)
    assert [verdict.index for _, verdict in done] == [frame.edge for frame in frames]
    errors = [abs(verdict.time_usec - frame.edge * PERIOD) for frame, verdict in done]
    assert max(errors) <= 1
    got = {frame.edge for frame in frames}
    assert pairing.counts.edges_missing == len(unseen & got)
    assert pairing.counts.frames_lost == len({f.edge for f in taken} - got - {*range(
        done[-1][1].index + 1, 2000)})  # fmt: skip


def test_an_edge_that_was_not_reported_has_the_time_of_the_period():
    edges = strobe([(n * PERIOD, False) for n in range(5)])
    assert edges.time_usec(6) == 6 * PERIOD
    assert edges.position(6.5 * PERIOD) == 6.5
    edges.take(5 * PERIOD)
    edges.take(5 * PERIOD)  # twice
    edges.take(6 * PERIOD)
    assert edges.position(6 * PERIOD) == 6


def test_a_strobe_edge_that_only_the_wire_has_lost_is_a_frame_with_an_estimated_time():
    edges = strobe([(n * PERIOD, False) for n in range(20) if n != 10])
    pairing = Pairing(edges, sends_untriggered=True)
    pairing.delay_usec = DELAY
    done = play(pairing, [Taken(n * PERIOD + DELAY, n, n) for n in range(20)])
    assert [verdict.index for _, verdict in done] == list(range(20))
    assert [verdict.time_usec for _, verdict in done] == [n * PERIOD for n in range(20)]
    assert pairing.counts.edges_missing == 1


@pytest.mark.parametrize("late", [0, 1, 3])
def test_a_strobe_whose_wire_breaks_and_whose_reports_are_late_is_counted(late):
    """Edges 100 to 149 are never seen, and each report comes `late` frames after its frame."""
    edges = strobe([(n * PERIOD, False) for n in range(3)])
    pairing = Pairing(edges, sends_untriggered=True)
    pairing.delay_usec = 2000
    verdicts = []
    for frame in range(3, 300):
        seen = frame - late
        if 3 <= seen < 100 or seen >= 150:
            edges.take(seen * PERIOD)
        settled, verdict = pairing.take(frame * PERIOD + 2000, frame)
        verdicts += [each for each in (settled, verdict) if each and each.kind != "hold"]
    for seen in range(300 - late, 300):
        edges.take(seen * PERIOD)
    assert [verdict.index for verdict in verdicts] == list(range(3, 300))
    assert all(abs(verdict.time_usec - verdict.index * PERIOD) <= 1 for verdict in verdicts)
    assert pairing.counts.edges_missing + edges.unseen(is_over=True) == 50
    assert pairing.counts.triggers_ignored == 3  # before the first frame


def test_the_delay_is_the_shortest_of_the_single_pulses():
    lead = LeadIn()
    for n, late in enumerate((4000, 0, 90)):
        lead.add_pulse(n * LEAD_SPACING_USEC)
        lead.add_frame(n * LEAD_SPACING_USEC + DELAY + late)
    assert lead.delay_usec() == DELAY
    assert not lead.is_free_running
    assert LeadIn().delay_usec() is None


def test_a_camera_that_runs_freely_is_noticed():
    lead = LeadIn()
    for n in range(4):
        lead.add_frame(n * PERIOD)
    assert lead.is_free_running
