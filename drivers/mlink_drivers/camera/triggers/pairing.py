"""Pairs the frames of a camera with the edges that a chip has made or seen. Values only.

Times are master µs. A frame's *position* is the number of the edge at its driver's time stamp less
the delay of frames, as a fraction: 17.0 is exactly at edge 17. It is expected at the edge after
that of the frame before, or as many further as the camera's own frame numbers have gone on. A frame
that is not there is held until the next one shows what has happened:

* it is at an edge further on: the camera has made no frame at those between, unless the next one is
  not as far on, then its stamp was late (a busy machine);
* it is between two edges, and the next one too, by the same part: the delay of frames has changed;
* it is between two edges, and no edge is free for it: it has none;
* it is between two edges, and one is free: its stamp was late, or it has none and another frame is
  missing; numbers decide it where they can, else what was more frequent before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from mlink_drivers.camera.triggers.edges import Edges
from mlink_drivers.trigger import LEAD_SPACING_USEC

_NEAR: Final = 0.25
"""Largest distance of a position from its edge, in periods."""
EARLY_USEC: Final = 2000
"""A stamp may be this much before its edge: errors of both clocks."""
_FOLLOW: Final = 1 / 32
"""Share of a frame's deviation that the delay takes over."""
_SHIFTED_USEC: Final = 3_000_000
"""How long frames must be off by the same part to count as a changed delay; it may also be the
chip's clock, whose estimate is corrected sooner."""
_FREE_RUNNING: Final = 4
"""A camera with this many frames per single pulse before the train is not triggered by them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a frame."""

    kind: Literal["send", "hold", "drop"]
    index: int = 0
    time_usec: int = 0
    missing: int = 0
    """Edges before it that have no frame."""
    damaged: int = 0
    """Of `missing`: those whose frame was damaged (`Pairing.skip`)."""
    reason: str = ""
    """Why it is dropped: "lead_in", "untriggered"."""


HOLD: Final = Verdict("hold")


@dataclass(slots=True)
class PairCounts:
    """Frames and edges by what became of them."""

    paired: int = 0
    """Frames with an edge, or with the time of a lost one."""
    frames_lost: int = 0
    """Edges without a frame, which the camera has numbered: lost on the way from it."""
    frames_damaged: int = 0
    """Edges whose frame came without some of its parts, and so without a time."""
    triggers_ignored: int = 0
    """Edges without a frame, of which the camera's numbers know nothing."""
    edges_missing: int = 0
    """Frames of a strobe without an edge: their times are estimated."""
    untriggered: int = 0
    """Frames without an edge of the train: not sent."""
    held: int = 0
    doubtful: int = 0
    """Frames whose edge later ones do not confirm."""


@dataclass(frozen=True, slots=True)
class _Held:
    stamp_usec: int
    number: int
    expected: int
    position: float

    @property
    def edge(self) -> int:
        return round(self.position)

    @property
    def is_near(self) -> bool:
        return abs(self.position - self.edge) <= _NEAR


class Pairing:
    """Pairs frames with edges; not thread-safe.

    Args:
        edges: The edges.
        sends_untriggered: Whether a frame without an edge is sent, with an estimated time.
    """

    def __init__(self, edges: Edges, *, sends_untriggered: bool) -> None:
        self.counts = PairCounts()
        self.delay_usec: float | None = None
        """From an edge to the driver's stamp of its frame; None until it is known."""
        self.last_edge: int | None = None
        self.first_edge: int | None = None
        self._edges = edges
        self._sends_untriggered = sends_untriggered
        self._last_number = -1
        self._last_usec = -1
        self._extra = 0
        """Frames that were sent without an edge: they have taken an index."""
        self._expects_next = False
        """Whether the edge of the next frame follows from that of the last one."""
        self._held: _Held | None = None
        self._shifted_usec: int | None = None
        """Stamp of the first of the frames that are off by the same part."""
        self._late_frames = 0
        """Frames with late stamps just before: an edge without a frame after them may also have
        been one before or between them."""
        self._damaged: list[int] = []
        """Numbers of damaged frames since the last pair."""
        self._damaged_before = 0
        """Such frames from before the camera began to count anew."""
        self._late = self._without = self._ignored = 0
        """Frames so far with late stamps, without an edge, and after an edge without a frame."""

    def restart(self) -> None:
        """The camera counts its frames anew, or a new train has begun; nothing may be held."""
        self._expects_next = False
        self._damaged_before = self.take_damaged()

    def take_damaged(self) -> int:
        """Return how many damaged frames are in no verdict's `damaged` yet, and forget them."""
        count = self._damaged_before + len(self._damaged)
        self._damaged_before = 0
        self._damaged.clear()
        return count

    def skip(self, number: int) -> None:
        """Note a damaged frame whose time is vague; its edge is between those of its neighbours.

        Args:
            number: The camera's own number of it; −1 without one.
        """
        self._damaged.append(number)

    def take(self, stamp_usec: int, number: int) -> tuple[Verdict | None, Verdict]:
        """Take a frame; the delay must be known.

        Args:
            stamp_usec: The driver's time stamp.
            number: The camera's own number of it; −1 without one.

        Returns:
            The verdict on the frame that was held, if there was one, and that on this frame.
        """
        settled = self._settle(stamp_usec, number) if self._held is not None else None
        position = self._position(stamp_usec)
        edge, expected = round(position), self._expected(number, position)
        is_near = abs(position - edge) <= _NEAR
        last = -1 if self.last_edge is None else self.last_edge
        if self._expects_next and not (is_near and last < edge <= expected):
            self._held = _Held(stamp_usec, number, expected, position)
            self.counts.held += 1
            return settled, HOLD
        if is_near:
            self._shifted_usec = None
            assert self.delay_usec is not None
            self.delay_usec += (position - edge) * self._edges.period_usec * _FOLLOW
        return settled, self._pair(min(edge, expected) if self._expects_next else expected, number)

    def flush(self) -> Verdict | None:
        """Return the verdict on the frame that is held, if there is one; no frame follows."""
        held, self._held = self._held, None
        return self._decide(held, None, 1) if held is not None else None

    def _position(self, stamp_usec: int) -> float:
        assert self.delay_usec is not None
        return self._edges.position(stamp_usec - self.delay_usec)

    def _expected(self, number: int, position: float) -> int:
        if not self._expects_next or self.last_edge is None:
            least = 0 if self.last_edge is None else self.last_edge + 1
            return max(round(position), least)
        return self.last_edge + self._steps(self._last_number, number)

    @staticmethod
    def _steps(before: int, number: int) -> int:
        return number - before if 0 <= before < number else 1

    def _settle(self, stamp_usec: int, number: int) -> Verdict:
        """Decide on the held frame, by the one after it."""
        held, self._held = self._held, None
        assert held is not None
        steps = self._steps(held.number, number)
        position = self._position(stamp_usec)
        shifted = abs(position - held.position - steps) <= _NEAR
        if not held.is_near and shifted and abs(position - round(position)) > _NEAR:
            if self._shifted_usec is None:
                self._shifted_usec = held.stamp_usec
            if stamp_usec - self._shifted_usec >= _SHIFTED_USEC:
                assert self.delay_usec is not None
                self.delay_usec += (held.position - held.expected) * self._edges.period_usec
            return self._pair(held.expected, held.number)
        return self._decide(held, position, steps)

    def _decide(self, held: _Held, position: float | None, steps: int) -> Verdict:
        """Decide on the held frame.

        Args:
            held: The frame.
            position: Of the frame after it; None where there is none.
            steps: By which that one's number is higher.
        """
        assert self.last_edge is not None
        free = math.floor(held.position)  # the last edge that it can have: no stamp is early
        often_without = self._without > self._late
        next_edge, is_near = None, False
        if position is not None:
            next_edge = round(position)
            is_near = abs(position - next_edge) <= _NEAR
        if held.is_near and held.edge > held.expected:
            often_late = self._late > self._ignored
            if position is None or next_edge is None:
                is_late = often_late
            elif not is_near:
                is_late = often_late if position >= held.edge + 1 else not often_without
            elif next_edge <= held.edge:  # the next one needs an edge of its own
                is_late = True
            elif next_edge - steps == held.edge:
                is_late = False
                self._ignored += 1
            elif next_edge - steps > held.edge:
                is_late = often_late
            else:
                is_late = next_edge - steps <= held.expected and not often_without
            self._late += is_late
            edge = held.expected if is_late else held.edge
            return self._pair(edge, held.number, late=is_late)
        if held.is_near or free <= self.last_edge:
            self._without += 1
            return self._without_edge(held)
        if is_near and next_edge is not None and next_edge - steps < held.expected:
            self._without += 1
            return self._without_edge(held)
        self.counts.doubtful += self._without > 0
        if often_without:
            return self._without_edge(held)
        self._late += 1
        return self._pair(min(held.expected, free), held.number, late=True)

    def _pair(self, edge: int, number: int, *, late: bool = False) -> Verdict:
        counts = self.counts
        missing = edge - self.last_edge - 1 if self.last_edge is not None else edge
        if self.last_edge is None:
            self.first_edge = edge
        lost = 0
        if self._expects_next and missing:
            lost = min(missing, self._steps(self._last_number, number) - 1)
        damaged = self._damaged_until(number, missing)
        lost = max(0, lost - damaged)
        counts.frames_damaged += damaged
        counts.frames_lost += lost
        counts.triggers_ignored += missing - damaged - lost
        if missing > damaged + lost:
            counts.doubtful += self._late_frames
            self._late_frames = 0
        self._late_frames = self._late_frames + 1 if late else 0
        counts.paired += 1
        counts.edges_missing += self._edges.use(edge) + self._edges.unseen()
        self.last_edge, self._last_number, self._expects_next = edge, number, True
        return self._send(edge, round(self._edges.time_usec(edge)), missing, damaged)

    def _damaged_until(self, number: int, missing: int) -> int:
        """Return how many of the missing frames before this one were damaged."""
        before = sum(it < number or number < 0 for it in self._damaged)
        damaged = min(missing, before + self._damaged_before)
        self._damaged_before += before - damaged
        del self._damaged[:before]
        return damaged

    def _without_edge(self, held: _Held) -> Verdict:
        """Return the verdict on a frame without an edge; it has its number, but takes no edge."""
        self._last_number = held.number
        if not self._sends_untriggered:
            self.counts.untriggered += 1
            return Verdict("drop", reason="untriggered")
        assert self.delay_usec is not None
        assert self.last_edge is not None
        self._extra += 1
        self.counts.edges_missing += 1
        return self._send(self.last_edge, round(held.stamp_usec - self.delay_usec), 0)

    def _send(self, edge: int, time_usec: int, missing: int, damaged: int = 0) -> Verdict:
        self._last_usec = max(time_usec, self._last_usec + 1)
        return Verdict("send", edge + self._extra, self._last_usec, missing, damaged)


class LeadIn:
    """Learns the delay of frames by the single pulses before a train.

    They are so far apart that each frame can only be that of the pulse before it.
    """

    def __init__(self) -> None:
        self._pulses: list[int] = []
        self._stamps: list[int] = []

    def add_pulse(self, time_usec: int) -> None:
        """Add a pulse."""
        self._pulses.append(time_usec)

    def add_frame(self, stamp_usec: int) -> None:
        """Add a frame."""
        self._stamps.append(stamp_usec)

    @property
    def is_free_running(self) -> bool:
        """Whether there are more frames than pulses can have triggered."""
        return len(self._stamps) >= _FREE_RUNNING * max(1, len(self._pulses))

    def delay_usec(self) -> int | None:
        """Return the shortest delay, as stamps may be late; None when no pulse has a frame."""
        delays = [
            stamp - pulse
            for pulse in self._pulses
            for stamp in self._stamps
            if -EARLY_USEC <= stamp - pulse < LEAD_SPACING_USEC - EARLY_USEC
        ]
        return min(delays, default=None)
