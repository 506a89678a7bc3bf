"""The module firmata-io on a virtual Uno with real firmware, in this process and in real time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlink_hil.control.board import VirtualBoard
from mlink_hil.devices import VirtualDevices
from tests.support.boards.firmata_bench import Bench

LOG = logging.getLogger("mlink.test.chip")


class Port:
    """Stands in for a script's output port: carries its commands to the module."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def submit(self, command: Any) -> None:
        self._bench.context.inputs["fmctl"].on_item(command)


@contextmanager
def chip_bench(
    tmp_path: Path, firmware: str = "mlink", options: str = "", **settings: Any
) -> Iterator[tuple[Bench, VirtualBoard]]:
    """Open a board and a running module on it; what fails in the module fails here."""
    spec = f"virtual:uno?firmware={firmware}{options}"
    with (
        VirtualDevices().open(name="uno", spec=spec, work_dir=tmp_path, log=LOG) as endpoint,
        VirtualBoard.connect(endpoint.control) as board,
    ):
        bench = Bench(tmp_path, None, address=endpoint.address, **settings)
        try:
            with bench:
                yield bench, board
        finally:
            bench.module.close()
        assert bench.context.failures == []


def wait_until(condition: Any, what: Any = None, timeout_s: float = 60.0) -> None:
    """Wait until a condition holds; the message shows what `what` returns."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what() if what is not None else "nothing came"
        time.sleep(0.005)
