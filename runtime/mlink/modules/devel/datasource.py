"""The `devel.datasource` module: made-up items of every type, computed from their number alone."""

from __future__ import annotations

import random
import string
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlink.metadata import MetaSize
from mlink.module import Module
from mlink.modules.devel.catalog import DataSourceSettings
from mlink.modules.devel.ticks import Ticks
from mlink.opencv import cv2
from mlink.types import (
    Frame,
    LineCommand,
    LineCommandKind,
    LineReading,
    SignalBlock,
    SignalBlockF32,
    SignalBlockI32,
    SignalBlockU16,
)

_WIDTH: Final = 960
_HEIGHT: Final = 600
_ROW_MSEC: Final = 2000
_LETTERS: Final = string.ascii_letters + string.digits


class DataSourceModule(Module[DataSourceSettings]):
    """Sends a frame at each tick, and what else is due then."""

    _ticks: Ticks | None = None

    def prepare(self) -> None:
        """Set the metadata of all outputs and draw the picture's background."""
        settings, outputs = self.settings, self.context.outputs
        self._period_usec = 1_000_000 / settings.fps
        self._random = random.Random(self.context.name)  # noqa: S311 - no secret
        self._next_row_msec = 0
        self._sample = 0
        self._levels: dict[int, int] = {}
        self._picture = _background(color=settings.color_video)
        outputs["frames-out"].metadata.update({
            "framerate": float(settings.fps), "size": MetaSize(_WIDTH, _HEIGHT),
            "has_color": settings.color_video,
        })  # fmt: skip
        outputs["rows-out"].metadata.update(
            {
                "table_header": ["Time", "Tag", "Value"],
                "data_name_proposal": f"table-{self.context.name}/testvalues",
            }
        )
        outputs["linerd-out"].metadata.update({
            "time_unit": "microseconds", "data_unit": "ttl", "is_digital": True,
        })  # fmt: skip
        for port, names in (
            ("float-out", ["Low", "High", "Low+High"]),
            ("int-out", ["Int Low"]),
            ("uint16-out", ["U16 Low", "U16 High"]),
        ):
            outputs[port].metadata.update({
                "signal_names": list(names), "time_unit": "microseconds", "data_unit": "au",
                "sample_rate": settings.sample_rate,
            })  # fmt: skip

    def start(self) -> None:
        """Begin to send."""
        self._ticks = Ticks(self.context, round(self._period_usec * 1000), self._send)

    def halt(self) -> None:
        """Send no more."""
        if self._ticks is not None:
            self._ticks.close()

    def close(self) -> None:
        """End the ticks, also after a failure."""
        self.halt()

    def _send(self, tick: int) -> None:
        time_usec = round(tick * self._period_usec)
        self._send_frame(tick - 1, time_usec)
        self._send_row(time_usec // 1000)
        self._send_lines(time_usec)
        self._send_signals(int(tick * self._period_usec * self.settings.sample_rate / 1e6))

    def _send_frame(self, index: int, time_usec: int) -> None:
        output = self.context.outputs["frames-out"]
        picture = self._picture
        if output.connected:
            picture = self._picture.copy()
            text = f"Frame: {index}"
            cv2.putText(picture, text, (24, 240), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (249,) * 3, 2)
        output.submit(Frame.from_array(picture, index, time_usec))

    def _send_row(self, time_msec: int) -> None:
        if time_msec < self._next_row_msec:
            return
        self._next_row_msec = time_msec + _ROW_MSEC
        value = "".join(self._random.choices(_LETTERS, k=14))
        tag = "beta" if time_msec % 2 else "alpha"
        self.context.outputs["rows-out"].submit([str(time_msec), tag, value])

    def _send_lines(self, time_usec: int) -> None:
        second = time_usec // 1_000_000
        if second % 3 == 0:
            command = LineCommand(LineCommandKind.WRITE_DIGITAL, 2, int(second % 2 == 0))
            self.context.outputs["linecmd-out"].submit(command)
        early = int(time_usec % 5_000_000 < 100_000)
        for line, level in ((0, second % 2), (1, second // 4 % 2), (2, early)):
            if self._levels.get(line) != level:
                self._levels[line] = level
                self.context.outputs["linerd-out"].submit(LineReading(line, level, time_usec))

    def _send_signals(self, end: int) -> None:
        """Send the samples before number `end`: none is later than the tick that sends it."""
        settings, outputs = self.settings, self.context.outputs
        numbers = np.arange(self._sample, end)
        if not len(numbers):
            return
        self._sample = end
        seconds = numbers / settings.sample_rate
        times = np.round(seconds * 1e6).astype(np.uint64)
        low = 0.5 * np.sin(2 * np.pi * settings.test_freq_low * seconds)
        high = 0.5 * np.sin(2 * np.pi * settings.test_freq_high * seconds)
        both = np.column_stack((low, high))
        blocks: tuple[tuple[str, SignalBlock, NDArray[Any]], ...] = (
            ("float-out", SignalBlockF32(), np.column_stack((low, high, low + high))),
            ("int-out", SignalBlockI32(), np.round(1000 * low)),
            ("uint16-out", SignalBlockU16(), np.round(2000 + 1000 * both)),
        )
        for port, block, samples in blocks:
            block.timestamps = times
            block.data = samples
            outputs[port].submit(block)


def _background(*, color: bool) -> NDArray[np.uint8]:
    """Return the picture without its text: a frame and a cross on a plain ground, BGR or grey."""
    picture = np.full((_HEIGHT, _WIDTH, 3), (67, 42, 30), np.uint8)
    middle_x, middle_y, arm = _WIDTH // 2, _HEIGHT // 2, 40
    cv2.rectangle(picture, (10, 10), (_WIDTH - 10, _HEIGHT - 10), (96, 174, 40), 4)
    for reach_x, reach_y in ((arm, 0), (0, arm)):
        begin, end = (
            (middle_x - reach_x, middle_y - reach_y),
            (middle_x + reach_x, middle_y + reach_y),
        )
        cv2.line(picture, begin, end, (0, 116, 247), 4)
    return picture if color else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
