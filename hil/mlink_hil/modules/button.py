"""The `virtual-button` module: a finger on a virtual board, with a stop-watch.

It presses and releases a button of the board and watches another pin for the loop's answer. Both
moments are the simulated board's own (its cycle counter), so the latency holds firmware, serial
line, host and script, and no error of this module's process.
"""

from __future__ import annotations

import contextlib
import random
import threading

from mlink.errors import DeviceError, MlinkError
from mlink.module import Module, ModuleContext
from mlink.types import LineReading
from mlink_hil.catalog import VirtualButtonSettings
from mlink_hil.control.board import Edge, PinReply, VirtualBoard
from mlink_hil.modules.latency import EdgeMatcher

_ANSWER_TIMEOUT_SEC = 0.5
_ANSWER_STEP_SEC = 0.02
"""How long a stop may wait for an answer that is not coming."""
_FIRST_PRESS_SEC = 0.2
"""Time for the loop's start(), which sets the pins up."""


class VirtualButtonModule(Module[VirtualButtonSettings]):
    """Presses a button and times the answers."""

    def __init__(self, context: ModuleContext[VirtualButtonSettings]) -> None:
        super().__init__(context)
        self._board: VirtualBoard | None = None
        self._matcher: EdgeMatcher | None = None
        self._thread = threading.Thread(target=self._press, name="finger")
        self._stopping = threading.Event()
        self._edges = context.outputs["edges"]
        self._rows = context.outputs["latencies"]

    def prepare(self) -> None:
        """Connect to the board's control socket and let go of the button."""
        device = self.context.device
        if device is None or not device.control:
            raise DeviceError(
                "a virtual button needs a virtual board",
                remedy='Give this module a device such as uno = "virtual:uno".',
            )
        self._board = VirtualBoard.connect(device.control)
        self._matcher = EdgeMatcher(self._board.stats().frequency_hz)
        self._board.drive(self.settings.line, self.settings.active_low)
        if self.settings.answer_line is not None:
            self._board.watch([self.settings.answer_line])
        self._edges.metadata["time_unit"] = "microseconds"
        self._edges.metadata["timestamp_source"] = "simulated-cycle"
        self._rows.metadata["table_header"] = ["Time [µs]", "Edge", "Latency [µs]"]
        self._rows.metadata["data_name_proposal"] = f"{self.context.name}-latencies"

    def start(self) -> None:
        """Begin to press."""
        self._thread.start()

    def halt(self) -> None:
        """Press no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def stop(self) -> None:
        """Report the figures; an edge whose answer the stop cut off does not count."""
        board, matcher = self._board, self._matcher
        if board is None or matcher is None:
            return
        matcher.forget_last()
        self.context.report("edges_seen", matcher.seen)
        if self.settings.answer_line is not None:
            self.context.report("edges_answered", matcher.answered)
        for key, value in matcher.summary().items():
            self.context.report(key, value)
        self.context.report("late_slices_percent", round(board.stats().late_percent, 2))

    def close(self) -> None:
        """Take the finger off and leave the board, which may be gone."""
        if self._board is not None:
            with contextlib.suppress(MlinkError):
                self._board.drive(self.settings.line, None)
            self._board.close()

    def _press(self) -> None:
        """Run the finger's thread."""
        chance = random.Random(self.settings.seed)  # noqa: S311 - no secret
        period_sec = 1 / self.settings.presses_hz
        hold_sec = min(self.settings.press_msec / 1000, period_sec / 2)
        pressed = not self.settings.active_low
        wait_sec = _FIRST_PRESS_SEC
        try:
            while not self._stopping.wait(wait_sec):
                self._edge("press", level=pressed)
                if self._stopping.wait(hold_sec):
                    return
                self._edge("release", level=not pressed)
                wait_sec = (period_sec - hold_sec) * chance.uniform(0.8, 1.2)
        except MlinkError as error:
            if not self._stopping.is_set():
                self.context.fail(error)

    def _edge(self, label: str, *, level: bool) -> None:
        """Make one edge and wait for its answer."""
        assert self._board is not None
        assert self._matcher is not None
        made = self._board.drive(self.settings.line, level)
        if not made.changed:
            return
        self._submit(made)
        self._matcher.stimulus(made.cycle, made.time_ns, label)
        if self.settings.answer_line is None:
            return
        tries = round(_ANSWER_TIMEOUT_SEC / _ANSWER_STEP_SEC)
        for _ in range(tries):
            answer = self._board.wait_edge(self.settings.answer_line, timeout_sec=_ANSWER_STEP_SEC)
            if answer is not None:
                self._submit(answer)
                self._matcher.answer(answer.cycle)
            if not self._matcher.waiting or (answer is None and self._stopping.is_set()):
                break
        else:
            self.log.warning("an edge on pin %d was not answered", self.settings.line)
        for latency in self._matcher.take():
            time_usec = self.context.clock.from_monotonic_ns(latency.time_ns)
            self._rows.submit([str(time_usec), latency.label, f"{latency.usec:.1f}"])

    def _submit(self, edge: PinReply | Edge) -> None:
        time_usec = self.context.clock.from_monotonic_ns(edge.time_ns)
        self._edges.submit(LineReading(edge.pin, int(edge.level), time_usec))
