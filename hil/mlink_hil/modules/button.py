"""The `virtual-button` module: presses a button of a simulated board and times the answers.

It presses and releases a button and watches another pin for the answer of the loop under test. Both
times are counted in cycles of the simulated board, so the latency includes firmware, serial line,
host and script, but no delay of this module's own process.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable

from mlink.errors import DeviceError, MlinkError, ModuleError
from mlink.module import Module, ModuleContext
from mlink.types import ControlCommand, ControlCommandKind, LineReading
from mlink.waiting import Registration
from mlink_hil.board_kinds import UNO, kind_of
from mlink_hil.catalog import VirtualButtonSettings
from mlink_hil.control.board import Edge, PinReply, VirtualBoard
from mlink_hil.modules.latency import EdgeMatcher

_ANSWER_TIMEOUT_SEC = 0.5
_FIRST_PRESS_SEC = 0.2
"""Pause before the first press, for the `start()` of the script, which sets the pins up."""


class VirtualButtonModule(Module[VirtualButtonSettings]):
    """Presses and releases the button until the run stops."""

    def __init__(self, context: ModuleContext[VirtualButtonSettings]) -> None:
        super().__init__(context)
        self._board: VirtualBoard | None = None
        self._matcher: EdgeMatcher | None = None
        self._chance = random.Random(self.settings.seed)  # noqa: S311 - no secret
        self._period_sec = 1 / self.settings.presses_hz
        self._hold_sec = min(self.settings.press_msec / 1000, self._period_sec / 2)
        self._then: Callable[[], None] | None = None
        """What follows the answer that is awaited."""
        self._next: Registration | None = None
        self._answers: Registration | None = None
        self._paused = self._rests = False
        """Whether it presses on command alone; whether nothing is scheduled meanwhile."""
        self._edges = context.outputs["edges"]
        self._rows = context.outputs["latencies"]

    def prepare(self) -> None:
        """Connect to the board and release the button.

        Raises:
            DeviceError: The module's device is not a simulated board, or has no such pin.
        """
        device = self.context.device
        if device is None or not device.control:
            raise DeviceError(
                "virtual-button needs a simulated board",
                remedy='Use a device such as uno = "virtual:uno" for this module.',
            )
        kind = kind_of(device.spec) or UNO
        for pin in (self.settings.line, self.settings.answer_line):
            if pin is not None and pin not in kind.user_pins:
                raise DeviceError(
                    f"{kind.title} has no pin {pin} for a button or its answer",
                    remedy=f"Valid: {kind.valid_pins}; analog inputs by their pin number.",
                )
        self.context.inputs["control"].on_item = self._on_control
        self._board = VirtualBoard.connect(device.control)
        self._matcher = EdgeMatcher(self._board.stats().frequency_hz)
        self._board.drive(self.settings.line, self.settings.active_low)
        if self.settings.answer_line is not None:
            self._board.watch([self.settings.answer_line], wake=True)
        self._edges.metadata["time_unit"] = "microseconds"
        self._edges.metadata["timestamp_source"] = "simulated-cycle"
        self._rows.metadata["table_header"] = ["Time [µs]", "Edge", "Latency [µs]"]
        self._rows.metadata["data_name_proposal"] = f"{self.context.name}-latencies/table"

    def start(self) -> None:
        """Begin to press."""
        assert self._board is not None
        self._answers = self.context.waiting.on_readable(self._board.fileno(), self._on_answers)
        self._later(_FIRST_PRESS_SEC, self._press_again)

    def halt(self) -> None:
        """Press no more; answers to the last press may still come."""
        for registration in (self._next, self._answers):
            if registration is not None:
                registration.cancel()

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
        stats = board.stats()
        self.context.report("late_slices_percent", round(stats.late_percent, 2))
        self.context.report("board_slip_usec", round(stats.slip_usec))

    def close(self) -> None:
        """Release the button and disconnect; the board may be gone already."""
        self.halt()
        if self._board is not None:
            with contextlib.suppress(MlinkError):
                self._board.drive(self.settings.line, None)
            self._board.close()

    def _later(self, delay_sec: float, call: Callable[[], None]) -> None:
        waiting = self.context.waiting
        self._next = waiting.at(waiting.now_ns() + round(delay_sec * 1e9), call)

    def _on_control(self, command: ControlCommand) -> None:
        """PAUSE ends the presses, STEP is a single one meanwhile, START goes on.

        Raises:
            ModuleError: It is another command, or a STEP while it presses by itself.
        """
        if command.kind in (ControlCommandKind.PAUSE, ControlCommandKind.STOP):
            self._paused = True
        elif command.kind is ControlCommandKind.START:
            self._paused = False
        elif command.kind is not ControlCommandKind.STEP:
            raise ModuleError(f"a button takes START, PAUSE and STEP, not {command.kind.name}")
        elif not self._rests:
            what = "the button presses by itself" if not self._paused else "it is pressed already"
            raise ModuleError(what, remedy="Send PAUSE first, then STEP for each press.")
        if self._rests and command.kind in (ControlCommandKind.START, ControlCommandKind.STEP):
            self._rests = False
            self._later(0, self._press)

    def _press_again(self) -> None:
        if self._paused:
            self._rests = True
        else:
            self._press()

    def _press(self) -> None:
        self._edge(
            "press",
            level=not self.settings.active_low,
            then=lambda: self._later(self._hold_sec, self._release),
        )

    def _release(self) -> None:
        pause_sec = (self._period_sec - self._hold_sec) * self._chance.uniform(0.8, 1.2)
        self._edge(
            "release",
            level=self.settings.active_low,
            then=lambda: self._later(pause_sec, self._press_again),
        )

    def _edge(self, label: str, *, level: bool, then: Callable[[], None]) -> None:
        """Cause one edge; `then` follows its answer."""
        assert self._board is not None
        assert self._matcher is not None
        made = self._board.drive(self.settings.line, level)
        if not made.changed:
            then()
            return
        arrived = list(self._board.edges())
        self._match(edge for edge in arrived if edge.cycle < made.cycle)
        self._submit(made)
        self._matcher.stimulus(made.cycle, made.time_ns, label)
        self._match(edge for edge in arrived if edge.cycle >= made.cycle)
        if self.settings.answer_line is None:
            then()
            return
        self._then = then
        self._later(_ANSWER_TIMEOUT_SEC, self._give_up)
        self._take_answers()  # `then` is called if the answer came with the reply

    def _on_answers(self, _now_ns: int) -> None:
        try:
            self._take_answers()
        except DeviceError:  # the board is gone: its socket would always be readable
            self.halt()
            raise

    def _take_answers(self) -> None:
        """Match the answers that have arrived."""
        assert self._board is not None
        assert self._matcher is not None
        self._match(self._board.edges())
        for latency in self._matcher.take():
            time_usec = self.context.clock.from_monotonic_ns(latency.time_ns)
            self._rows.submit([str(time_usec), latency.label, f"{latency.usec:.1f}"])
        if not self._matcher.waiting:
            self._go_on()

    def _match(self, answers: Iterable[Edge]) -> None:
        assert self._matcher is not None
        for answer in answers:
            self._submit(answer)
            self._matcher.answer(answer.cycle)

    def _give_up(self) -> None:
        self.log.warning(
            "no answer to an edge on pin %d within %g s",
            self.settings.line,
            _ANSWER_TIMEOUT_SEC,
        )
        self._next = None
        self._go_on()

    def _go_on(self) -> None:
        then, self._then = self._then, None
        if then is None:
            return
        if self._next is not None:
            self._next.cancel()
        then()

    def _submit(self, edge: PinReply | Edge) -> None:
        time_usec = self.context.clock.from_monotonic_ns(edge.time_ns)
        self._edges.submit(LineReading(edge.pin, int(edge.level), time_usec))
