"""A camera whose frames have the times of a board's edges: a train that triggers it, or its strobe.

Rows about edges arrive in the module's main thread, frames in the capture thread, and neither waits
for the other: a frame whose edge has not been reported yet has the time at which the train makes
it, or the one that the strobe's period predicts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from mlink.clock import Clock
from mlink.errors import DeviceError
from mlink.module import InputPort, OutputPort
from mlink_drivers.camera.backend import CameraInfo
from mlink_drivers.camera.triggers.edges import StrobeEdges, TrainEdges
from mlink_drivers.camera.triggers.pairing import EARLY_USEC, LeadIn, Pairing, Verdict
from mlink_drivers.trigger import (
    EDGES_INPUT,
    LEAD_SPACING_USEC,
    Answer,
    EdgeRow,
    Strobe,
    Trigger,
)

SOURCE = "trigger"
"""`timestamp_source` of such a stream."""
_CLOCK_USEC = 5
"""Error of an edge's time beyond that of the chip's clock: the moment at which a pin changes."""
_LONGEST_DELAY_USEC = 1_000_000
_NO_STROBE_USEC = 3_000_000
"""Frames come for so long without an edge of their strobe when something is wrong."""
_LEAD_IN = Verdict("drop", reason="lead_in")
_EVENTS = (
    ("frames_lost", "frame-missing", "the camera has numbered it"),
    ("frames_damaged", "frame-missing", "it came damaged"),
    ("triggers_ignored", "frame-missing", "the camera has not numbered it"),
    ("edges_missing", "edge-missing", ""),
    ("untriggered", "untriggered", ""),
    ("doubtful", "doubtful", ""),
)
"""Count, event of its row, and detail."""


class FrameTrigger:
    """Gives each frame the time of its edge; counts what is missing on both sides.

    Args:
        wish: The camera's setting.
        inputs: Inputs of the module, with the rows of the board.
        output: Port `trigger`.
        clock: Master clock.
        log: Logger of the module.
        shown: Name of the camera in messages.
    """

    def __init__(
        self,
        wish: Trigger | Strobe,
        inputs: Mapping[str, InputPort],
        output: OutputPort,
        clock: Clock,
        log: logging.Logger,
        shown: str,
    ) -> None:
        port = inputs[EDGES_INPUT]
        if not port.connected:
            raise DeviceError(
                f"the board '{wish.board}' of {shown}'s trigger or strobe is not in this run",
                remedy="Do not leave it out, or remove the setting.",
            )
        self._wish = wish
        self._metadata = port.metadata
        self._output = output
        self._clock = clock
        self._log = log
        self._shown = shown
        self._lock = threading.Lock()
        self._train: TrainEdges | None = TrainEdges() if isinstance(wish, Trigger) else None
        self._strobe = StrobeEdges()
        edges = self._strobe if self._train is None else self._train
        self._pairing = Pairing(edges, sends_untriggered=self._train is None)
        self._edges = edges
        self._lead_in = LeadIn()
        self._begin_usec: int | None = None
        """When the train began that runs; None without one."""
        self._end_usec: int | None = None
        """When it has ended; frames of its last edges may still come."""
        self._began_usec = 0
        """When the camera has begun."""
        self._since_usec = 0
        """The same, or when it had its last frame."""
        self._period_usec = 1e6 / wish.rate_hz if isinstance(wish, Trigger) else 0.0
        self._told = {name: 0 for name, _, _ in _EVENTS}
        """Counts of which there are rows."""
        port.on_item = self._on_row
        port.on_gap = self._on_gap
        output.metadata["table_header"] = list(Answer.header())

    # -- the module's main thread ----------------------------------------------------------------

    def describe(self, info: CameraInfo) -> CameraInfo:
        """Return what the camera delivers with these times."""
        wish = self._wish
        rate_hz = wish.rate_hz if isinstance(wish, Trigger) else info.framerate
        return replace(info, framerate=rate_hz, timestamp_source=SOURCE)

    def metadata(self) -> dict[str, Any]:
        """Return the metadata of the stream of frames."""
        known = self._metadata.get("uncertainty_usec", 0)
        assert isinstance(known, int)
        wish = self._wish
        described: dict[str, Any] = {
            "timestamp_source": SOURCE,
            "uncertainty_usec": known + _CLOCK_USEC,
            "trigger_board": wish.board,
            "trigger_line": wish.line,
            "trigger_kind": "train" if isinstance(wish, Trigger) else "strobe",
        }
        if isinstance(wish, Trigger):
            described |= {
                "framerate": wish.rate_hz,
                "trigger_rate_hz": wish.rate_hz,
                "trigger_exposure_usec": wish.exposure_usec,
            }
        return described

    def finish(self) -> None:
        """Send the counts; no frame follows."""
        pairing = self._pairing
        pairing.counts.edges_missing += self._edges.unseen(is_over=True)
        self._tell()
        if pairing.last_edge is not None:
            counts = ", ".join(f"{n} {name}" for name, n in asdict(pairing.counts).items() if n)
            self._answer(
                "end", pairing.last_edge, pairing.counts.paired, counts, pairing.delay_usec or 0.0
            )

    def report(self, report: Callable[[str, float | str], None]) -> None:
        """Report the counts that are not 0, and the delay of frames."""
        pairing = self._pairing
        for name, count in asdict(pairing.counts).items():
            if count:
                report(f"trigger_{name}", count)
        if pairing.first_edge is not None and pairing.last_edge is not None:
            report("trigger_edges", f"{pairing.first_edge} to {pairing.last_edge}")
        if pairing.delay_usec is not None:
            report("trigger_delay_usec", round(pairing.delay_usec))

    def losses(self) -> list[tuple[str, str]]:
        """Return what was lost that is no gap of the stream, each with what to do."""
        counts, found = self._pairing.counts, []
        if counts.untriggered:
            what = f"{counts.untriggered} frame(s) of {self._shown} came without a trigger"
            found.append((f"{what}: not sent", "Check the trigger's wire and ground."))
        if counts.edges_missing:
            what = f"{counts.edges_missing} frame(s) of {self._shown} have no edge of the strobe"
            found.append((f"{what}: their times are estimated", "Check its wire and the board."))
        if counts.doubtful:
            what = f"{counts.doubtful} frame(s) of {self._shown} are not sure to be at their edge"
            found.append((what, "The driver's time stamps are late by more than the intervals."))
        return found

    def _on_row(self, cells: list[str]) -> None:
        row = EdgeRow.read(cells)
        if row.line != self._wish.line:
            return
        with self._lock:
            if self._train is None:
                self._take_strobe(row)
            else:
                self._take_train(self._train, row)

    def _on_gap(self, _count: int) -> None:
        with self._lock:
            self._strobe.lose()

    def _take_strobe(self, row: EdgeRow) -> None:
        if row.event == "edge":
            self._strobe.take(row.time_usec)
        elif row.event in ("lost", "off"):
            self._strobe.lose()

    def _take_train(self, train: TrainEdges, row: EdgeRow) -> None:
        if row.event == "lead":
            self._lead_in.add_pulse(row.time_usec)
        elif row.event == "off":
            self._end_usec = row.time_usec
            self._lead_in = LeadIn()
        elif row.event == "train":
            train.take(row)
            self._period_usec = row.period_usec
            if self._begin_usec is None or self._end_usec is not None:
                self._begin_usec, self._end_usec = row.time_usec, None

    # -- the capture thread ----------------------------------------------------------------------

    def begin(self) -> None:
        """The camera has started, for the first time or after a loss."""
        with self._lock:
            self._began_usec = self._since_usec = self._clock.now_usec()
            self._pairing.restart()
        self._answer("ready")

    def take(self, stamp_ns: int, number: int) -> tuple[Verdict | None, Verdict]:
        """Take a frame.

        Args:
            stamp_ns: The driver's time stamp, on CLOCK_MONOTONIC.
            number: The camera's own number of it; −1 without one.

        Returns:
            The verdict on the frame that was held, if there was one, and that on this frame.

        Raises:
            DeviceError: The camera sends frames that nothing has triggered.
        """
        stamp_usec = self._clock.from_monotonic_ns(stamp_ns)
        with self._lock:
            self._since_usec = self._clock.now_usec()
            if self._train is not None and self._is_before_train(stamp_usec):
                settled, verdict = self._pairing.flush(), _LEAD_IN
                self._pairing.restart()
                self._lead_in.add_frame(stamp_usec)
                if self._lead_in.is_free_running:
                    raise self._free_running()
            elif self._knows_delay(stamp_usec, number):
                settled, verdict = self._pairing.take(stamp_usec, number)
            else:
                settled, verdict = None, _LEAD_IN
                self._check_strobe()
        self._tell()
        return settled, verdict

    def skip(self, number: int) -> bool:
        """Note a damaged frame, whose time is vague; return whether it is one of the train.

        Args:
            number: The camera's own number of it; −1 without one.
        """
        with self._lock:
            now_usec = self._clock.now_usec()
            if self._train is not None and self._is_before_train(now_usec):
                return False
            self._since_usec = now_usec
            self._pairing.skip(number)
        return True

    def take_damaged(self) -> int:
        """Return how many damaged frames came after the last one that has an edge; once."""
        return self._pairing.take_damaged()

    def flush(self) -> Verdict | None:
        """Return the verdict on the frame that is held; no other follows."""
        with self._lock:
            verdict = self._pairing.flush()
        self._tell()
        return verdict

    def waits_usec(self) -> int:
        """Return for how long a frame has been due, µs; 0 while the camera waits for an edge."""
        with self._lock:
            now_usec = self._clock.now_usec()
            if self._train is None:
                return now_usec - self._since_usec
            if self._begin_usec is None or self._end_usec is not None:
                return 0
            due_usec = max(self._begin_usec, self._since_usec + round(self._period_usec))
            return max(0, now_usec - due_usec - round(self._pairing.delay_usec or 0))

    def silence_limit_usec(self, limit_usec: int) -> int:
        """Return how long a frame may be due: three periods of the train are allowed."""
        return max(limit_usec, round(3 * self._period_usec))

    @property
    def silence_remedy(self) -> str:
        """What to do when no frame comes."""
        line = f"line {self._wish.line} of '{self._wish.board}'"
        if self._train is not None:
            return (
                f"Check the wire from {line} to the camera's trigger input, and that its trigger"
                " mode is on and its exposure shorter than the period."
            )
        return f"Check the camera's cable, and the wire from its strobe to {line}."

    def _check_strobe(self) -> None:
        """Raise DeviceError when frames come, and no edge does."""
        if self._clock.now_usec() - self._began_usec > _NO_STROBE_USEC:
            raise DeviceError(
                f"{self._shown} sends frames, but line {self._wish.line} of '{self._wish.board}'"
                " shows no strobe",
                remedy="Check its wire and ground, active_low, and that the camera's strobe is on.",
            )

    def _is_before_train(self, stamp_usec: int) -> bool:
        """Return whether a frame is one of the single pulses before the train."""
        delay_usec = self._pairing.delay_usec or 0
        if self._end_usec is not None and stamp_usec - delay_usec > self._end_usec + EARLY_USEC:
            return True
        return self._begin_usec is None or stamp_usec < self._begin_usec - EARLY_USEC

    def _free_running(self) -> DeviceError:
        return DeviceError(
            f"{self._shown} sends frames that the trigger on line {self._wish.line} of"
            f" '{self._wish.board}' has not caused",
            remedy="Switch the camera's trigger mode on, such as by `controls`.",
        )

    def _knows_delay(self, stamp_usec: int, number: int) -> bool:
        """Return whether the delay of frames is known; find it out with the first frame."""
        pairing = self._pairing
        if pairing.delay_usec is not None:
            return True
        if self._train is not None:
            assert self._begin_usec is not None
            delay: float | None = self._lead_in.delay_usec()
            if delay is None:
                delay = self._less_than_a_period(stamp_usec)
        else:
            delay = self._strobe_delay(stamp_usec, number)
        if delay is None:
            return False
        pairing.delay_usec = delay
        self._log.info("%s: frames come %d µs after their edges", self._shown, delay)
        self._answer("aligned", delay_usec=delay)
        return True

    def _less_than_a_period(self, stamp_usec: int) -> float:
        edge = int(self._edges.position(stamp_usec) // 1)
        if self._period_usec < LEAD_SPACING_USEC:
            self._log.warning(
                "%s: none of the single pulses before the train has a frame; the delay of frames is"
                " taken to be less than a period",
                self._shown,
            )
        return stamp_usec - self._edges.time_usec(edge)

    def _strobe_delay(self, stamp_usec: int, number: int) -> float | None:
        strobe, wish = self._strobe, self._wish
        first_usec = strobe.first_usec
        if first_usec is None or not strobe.period_usec:
            return None  # its edges are not known yet
        assert isinstance(wish, Strobe)
        if wish.delay_usec is not None:
            edge = round(strobe.position(stamp_usec - wish.delay_usec))
            return stamp_usec - strobe.time_usec(edge)
        if first_usec >= self._began_usec and number >= 0:  # it has exposed nothing before
            delay = stamp_usec - strobe.time_usec(strobe.first + number)
            if 0 <= delay < _LONGEST_DELAY_USEC:
                return delay
        edge = int(strobe.position(stamp_usec) // 1)
        return stamp_usec - strobe.time_usec(edge)

    def _tell(self) -> None:
        """Send a row for each count that has grown."""
        for name, event, detail in _EVENTS:
            count = getattr(self._pairing.counts, name)
            if grown := count - self._told[name]:
                self._told[name] = count
                self._answer(event, self._pairing.last_edge or 0, grown, detail)

    def _answer(
        self, event: str, edge: int = -1, count: int = 1, detail: str = "", delay_usec: float = 0.0
    ) -> None:
        if self._output.connected:
            row = Answer(self._clock.now_usec(), event, edge, count, detail, round(delay_usec))
            self._output.submit(row.cells())
