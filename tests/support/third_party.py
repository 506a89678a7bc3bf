"""Modules as another package has them: one that keeps to the public API, one that has a thread."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import replace

from mlink import catalog
from mlink.module import Category, Module, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType
from tests.support import ROOT

PERIOD_USEC = 10_000


class Ticker(Module[ModuleSettings]):
    """Sends the time each 10 ms."""

    def start(self) -> None:
        """Begin."""
        self.context.call_later(PERIOD_USEC, self._tick)

    def _tick(self) -> None:
        if not self.context.running:
            return
        self.context.outputs["rows"].submit([self.context.clock.now_usec()])
        self.context.call_later(PERIOD_USEC, self._tick)


class Repeater(Module[ModuleSettings]):
    """Sends on each row that it receives, after a wait."""

    def prepare(self) -> None:
        """Set the handler."""
        self.context.inputs["rows"].on_item = self._repeat

    def _repeat(self, row: list[str]) -> None:
        self.context.serve(1_000)
        self.context.outputs["rows"].submit([*row, self.context.clock.now_usec()])


class Threaded(Module[ModuleSettings]):
    """Sends from a thread of its own."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._send, name="meter", daemon=True).start()

    def _send(self) -> None:
        with suppress(Exception):  # the thread may end unseen, the refusal may not
            self.context.outputs["rows"].submit([1])


_ROWS = (PortSpec("rows", DataType.TableRow),)


def _type(cls: type, *, inputs: tuple[PortSpec, ...] = ()) -> ModuleType:
    return ModuleType(
        id=cls.__name__.lower(),
        title=cls.__name__,
        summary="",
        category=Category.PROCESSING if inputs else Category.GENERATOR,
        settings=ModuleSettings,
        implementation=f"{__name__}:{cls.__name__}",
        inputs=inputs,
        outputs=_ROWS,
        virtual_time=True,
    )


ticker, repeater, threaded = _type(Ticker), _type(Repeater, inputs=_ROWS), _type(Threaded)
silent = replace(ticker, id="silent", virtual_time=False)
"""Does not state that it knows virtual time."""


def install() -> None:
    """Let benches of this process name them, and workers import them."""
    for each in (ticker, repeater, threaded, silent):
        catalog._installed().types[each.id] = each
    os.environ["PYTHONPATH"] = str(ROOT)
