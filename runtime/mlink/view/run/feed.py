"""The module that sees all streams of a run for a view: it never waits, and keeps little.

Small items go out twenty times a second, as many as a page can show; of frames only the next one
that a page has asked for, as a picture. What the program does not read in time is left out, and
counted: a view costs the modules of the run nothing but this subscriber, of the lowest priority.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from mlink.metadata import Metadata, MetaSize, bits_of, usec_per_unit
from mlink.module import InputPort, Module, ModuleContext
from mlink.tap.catalog import TapSettings, beside_port
from mlink.types import (
    ControlCommand,
    DataType,
    Frame,
    LineCommand,
    LineReading,
    SignalBlock,
)
from mlink.view.messages import Act, Batch, FeedBegins, Items, RefusedActs, Want
from mlink.view.picture import make_picture
from mlink.view.run.control import Control
from mlink.view.run.line import Line
from mlink.view.thin import plain, thinned

_PERIOD_USEC = 50_000
"""Between two batches."""
_TURN_USEC = 20_000
_MOST_ITEMS = 500
"""Items of one stream in a batch; of more, only these and their number."""
_MOST_SAMPLES = 400
"""Samples of a channel in a batch; of more, the least, the greatest and the last of each part."""
_MOST_CELLS, _CELL_LENGTH = 32, 200
_BEHIND_BYTES = 4 << 20
"""Bytes that wait for the program; with more, no batch is made."""


class FeedModule(Module[TapSettings]):
    """Sends what flows on a run's streams to the program of a view, if it is there."""

    def __init__(self, context: ModuleContext[TapSettings]) -> None:
        super().__init__(context)
        self._line = Line(self._on_loss)
        self._pending: dict[str, Items] = {}
        self._wanted: dict[str, set[int]] = {}
        """Stream → widths of the pictures that are asked for."""
        self._next_usec = 0
        self._control = Control(context, self._line.put)

    def prepare(self) -> None:
        """Connect to the program; without it the module takes items and does nothing."""
        try:
            self._line.connect(self.settings.socket)
        except OSError as error:
            self.log.warning("the view is not there (%s): the run goes on without it", error)
        takers: dict[DataType, Callable[[InputPort, Items, Any], None]] = {
            DataType.LineReading: self._take_reading,
            DataType.LineCommand: self._take_command,
            DataType.ControlCommand: self._take_control,
            DataType.TableRow: self._take_row,
            DataType.Frame: self._take_frame,
        }
        answers = {
            f"{module}.{beside_port(port)}": target
            for target in (each.stream for each in self.settings.commanded)
            for module, _, port in [target.partition(".")]
        }
        for stream, port in self.context.inputs.items():
            if stream in answers:
                port.on_item = partial(self._control.answered, answers[stream])
                continue
            take = takers.get(port.data_type, self._take_block)
            port.on_item = partial(self._on_item, stream, port, take)
            port.on_gap = partial(self._on_gap, stream)

    def start(self) -> None:
        """Send the metadata of all streams."""
        self._control.start()
        inputs: dict[str, InputPort] = dict(self.context.inputs)
        self._line.put(FeedBegins({name: _plain(port.metadata) for name, port in inputs.items()}))

    def run(self) -> None:
        """Take items, send batches and pictures, until the run stops."""
        os.nice(10)  # pictures are made when nothing else has to be done
        while self.context.running:
            self.context.serve(_TURN_USEC)
            self._exchange()

    def drained(self) -> None:
        """Send what is left."""
        self._control.finish()
        self._send_batch(self.context.clock.now_usec())
        self._line.flush()

    def close(self) -> None:
        """Close the connection and the table of commands."""
        self._control.close()
        self._line.close()

    # -- items -----------------------------------------------------------------------------------

    def _on_item(
        self,
        stream: str,
        port: InputPort,
        take: Callable[[InputPort, Items, Any], None],
        item: object,
    ) -> None:
        pending = self._of(stream)
        pending.count += 1
        if port.data_type is DataType.Frame or pending.count <= _MOST_ITEMS:
            take(port, pending, item)

    def _on_gap(self, stream: str, count: int) -> None:
        self._of(stream).missed += count

    def _of(self, stream: str) -> Items:
        return self._pending.setdefault(stream, Items(stream))

    def _sent_usec(self, port: InputPort) -> int:
        return self.context.clock.from_monotonic_ns(port.sent_ns)

    def _take_reading(self, _port: InputPort, pending: Items, item: LineReading) -> None:
        _append(pending, line=item.line_id, value=item.value, time_usec=item.time_usec)

    def _take_command(self, port: InputPort, pending: Items, item: LineCommand) -> None:
        value = item.duration_usec or item.value
        _append(
            pending,
            command=item.kind.name,
            line=item.line_id,
            value=value,
            time_usec=self._sent_usec(port),
        )

    def _take_control(self, port: InputPort, pending: Items, item: ControlCommand) -> None:
        text = item.command[:_CELL_LENGTH] or item.kind.name
        _append(pending, command=text, time_usec=self._sent_usec(port))

    def _take_row(self, port: InputPort, pending: Items, item: list[str]) -> None:
        cells = [cell[:_CELL_LENGTH] for cell in item[:_MOST_CELLS]]
        _append(pending, cells=cells, time_usec=self._sent_usec(port))

    def _take_block(self, port: InputPort, pending: Items, block: SignalBlock) -> None:
        unit = str(port.metadata.get("time_unit") or "microseconds")
        scale = usec_per_unit(unit, port.metadata.get("sample_rate"))
        if scale is None and unit != "index":
            scale = 1.0
        if scale is None or not block.rows or block.rows != block.length:
            return  # it has no times
        times, data = thinned(
            block.timestamps * scale, block.data.astype(np.float64), _MOST_SAMPLES
        )
        pending.columns.setdefault("time_usec", []).extend(int(t) for t in times)
        channels = pending.columns.setdefault("data", [[] for _ in range(data.shape[1])])
        for channel, values in zip(channels, data.T, strict=False):
            channel.extend(plain(values))

    def _take_frame(self, port: InputPort, pending: Items, frame: Frame) -> None:
        view = frame.view
        pending.last = {
            "index": frame.index,
            "time_usec": frame.time_usec,
            "shape": list(view.shape),
            "dtype": str(view.dtype),
        }
        if widths := self._wanted.pop(pending.stream, None):
            now_usec = self.context.clock.now_usec()
            for width in widths:
                bits = bits_of(port.metadata, view.itemsize)
                self._line.put(make_picture(pending.stream, frame, width, now_usec, bits))

    # -- the connection --------------------------------------------------------------------------

    def _exchange(self) -> None:
        now_usec = self.context.clock.now_usec()
        if now_usec >= self._next_usec and self._line.waiting_bytes < _BEHIND_BYTES:
            self._next_usec = now_usec + _PERIOD_USEC
            self._send_batch(now_usec)
        self._line.flush()
        self._control.write()
        for message in self._line.receive():
            if isinstance(message, Act):
                self._control.act(message)
            elif isinstance(message, RefusedActs):
                self._control.refused(message)
            elif isinstance(message, Want) and message.stream in self.context.inputs:
                self._wanted.setdefault(message.stream, set()).add(message.width)

    def _send_batch(self, now_usec: int) -> None:
        if self._pending:
            items, self._pending = list(self._pending.values()), {}
            self._line.put(Batch(now_usec, items))

    def _on_loss(self, why: str) -> None:
        if why:
            self.log.warning("%s: the run goes on without a view", why)


def _append(pending: Items, **values: object) -> None:
    for name, value in values.items():
        pending.columns.setdefault(name, []).append(value)


def _plain(metadata: Metadata) -> dict[str, Any]:
    """Return metadata in values that JSON has."""
    simple = {
        key: [value.width, value.height] if isinstance(value, MetaSize) else value
        for key, value in metadata.items()
    }
    plain: dict[str, Any] = msgspec.to_builtins(simple)
    return plain
