"""The `virtual-button` module: presses a button of a simulated board and times the answers.

It presses and releases a button and watches another pin for the answer of the loop under test. Both
times are counted in cycles of the simulated board, so the latency includes firmware, serial line,
host and script, but no delay of this module's own process.
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
"""How often the wait for an answer checks whether the run stops."""
_FIRST_PRESS_SEC = 0.2
"""Pause before the first press, for the `start()` of the script, which sets the pins up."""


class VirtualButtonModule(Module[VirtualButtonSettings]):
    """Presses and releases the button in a thread of its own until the run stops."""

    def __init__(self, context: ModuleContext[VirtualButtonSettings]) -> None:
        super().__init__(context)
        self._board: VirtualBoard | None = None
        self._matcher: EdgeMatcher | None = None
        self._thread = threading.Thread(target=self._press, name="finger")
        self._stopping = threading.Event()
        self._edges = context.outputs["edges"]
        self._rows = context.outputs["latencies"]

    def prepare(self) -> None:
        """Connect to the board and release the button.

        Raises:
            DeviceError: The module's device is not a simulated board.
        """
        device = self.context.device
        if device is None or not device.control:
            raise DeviceError(
                "virtual-button needs a simulated board",
                remedy='Use a device such as uno = "virtual:uno" for this module.',
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
        """Start the thread that presses."""
        self._thread.start()

    def halt(self) -> None:
        """Stop pressing and wait for the thread.

        Nothing is pressed after it; answers to the last press may still come.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def stop(self) -> None:
        """Report the latencies; an edge whose answer was still awaited does not count."""
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
        """Release the button and disconnect; the board may be gone already."""
        if self._board is not None:
            with contextlib.suppress(MlinkError):
                self._board.drive(self.settings.line, None)
            self._board.close()

    def _press(self) -> None:
        """Press and release until the run stops; runs in the thread `finger`."""
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
        """Cause one edge and wait for its answer."""
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
            self.log.warning(
                "no answer to an edge on pin %d within %g s",
                self.settings.line,
                _ANSWER_TIMEOUT_SEC,
            )
        for latency in self._matcher.take():
            time_usec = self.context.clock.from_monotonic_ns(latency.time_ns)
            self._rows.submit([str(time_usec), latency.label, f"{latency.usec:.1f}"])

    def _submit(self, edge: PinReply | Edge) -> None:
        time_usec = self.context.clock.from_monotonic_ns(edge.time_ns)
        self._edges.submit(LineReading(edge.pin, int(edge.level), time_usec))
