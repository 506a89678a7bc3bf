"""The `virtual-button` module: a finger on a virtual board, with a stop-watch.

It presses and releases a button of the board and watches another pin for the loop's answer. Both
moments are the simulated board's own (its cycle counter), so the latency holds firmware, serial
line, host and script, and no error of this module's process.
"""

from __future__ import annotations

import random
import threading

from mlink.errors import DeviceError, MlinkError
from mlink.module import Module, ModuleContext
from mlink.types import LineReading
from mlink_hil.catalog import VirtualButtonSettings
from mlink_hil.virtual_board import Edge, PinReply, VirtualBoard

_ANSWER_TIMEOUT_SEC = 0.5
_FIRST_PRESS_SEC = 0.2
"""Time for the loop's start(), which sets the pins up."""


class VirtualButtonModule(Module[VirtualButtonSettings]):
    """Presses a button and times the answers."""

    def __init__(self, context: ModuleContext[VirtualButtonSettings]) -> None:
        super().__init__(context)
        self._board: VirtualBoard | None = None
        self._thread = threading.Thread(target=self._press, name="finger")
        self._stopping = threading.Event()
        self._edges = context.outputs["edges"]
        self._rows = context.outputs["latencies"]
        self._seen = 0
        self._latencies_usec: list[float] = []

    def prepare(self) -> None:
        """Connect to the board's control socket and let go of the button."""
        device = self.context.device
        if device is None or not device.control:
            raise DeviceError(
                "a virtual button needs a virtual board",
                remedy='Give this module a device such as uno = "virtual:uno".',
            )
        self._board = VirtualBoard.connect(device.control)
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
        """Report the figures."""
        self.context.report("edges_seen", self._seen)
        ordered = sorted(self._latencies_usec)
        if ordered:
            self.context.report("edges_answered", len(ordered))
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                value = ordered[min(len(ordered) - 1, int(share * len(ordered)))]
                self.context.report(f"latency_{name}_usec", round(value, 1))
        if self._board is not None:
            self.context.report("late_slices_percent", round(self._board.stats().late_percent, 2))

    def close(self) -> None:
        """Leave the board."""
        if self._board is not None:
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
                self._edge(level=pressed)
                if self._stopping.wait(hold_sec):
                    return
                self._edge(level=not pressed)
                wait_sec = (period_sec - hold_sec) * chance.uniform(0.8, 1.2)
        except MlinkError as error:
            if not self._stopping.is_set():
                self.context.fail(error)

    def _edge(self, *, level: bool) -> None:
        assert self._board is not None
        for _ in self._board.edges():
            pass  # answers that came too late
        made = self._board.drive(self.settings.line, level)
        self._seen += 1
        self._submit(made)
        if self.settings.answer_line is None:
            return
        answer = self._board.wait_edge(self.settings.answer_line, timeout_sec=_ANSWER_TIMEOUT_SEC)
        if answer is None:
            self.log.warning("edge %d on pin %d was not answered", self._seen, self.settings.line)
            return
        latency_usec = (answer.time_ns - made.time_ns) / 1000
        self._latencies_usec.append(latency_usec)
        self._submit(answer)
        time_usec = self.context.clock.from_monotonic_ns(made.time_ns)
        kind = "press" if level is not self.settings.active_low else "release"
        self._rows.submit([str(time_usec), kind, f"{latency_usec:.1f}"])

    def _submit(self, edge: PinReply | Edge) -> None:
        time_usec = self.context.clock.from_monotonic_ns(edge.time_ns)
        self._edges.submit(LineReading(edge.pin, int(edge.level), time_usec))
