"""The moments at which items pass through a module, for `mlink verify-timing --stages`.

A run that is not measured has none of this: the notes of ports are set only where one is asked for.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final

import msgspec

from mlink.waiting import OnReadable, Registration, ServiceLoop
from mlink.worker.input_port import WorkerInput
from mlink.worker.output_port import WorkerOutput

WOKEN, TAKEN, DONE, SENT = range(4)
"""Kinds of moments: a driver's thread has bytes; an item was received; its handler has returned;
an item is about to be sent."""
_MOST: Final = 1_000_000
_SUFFIX: Final = ".stages"


class Moment(msgspec.Struct, array_like=True, frozen=True):
    """One moment."""

    kind: int
    port: str
    """Id of the port; "" where a driver's thread has bytes."""
    number: int
    """The item's number in its stream; -1 for bytes."""
    time_ns: int
    """CLOCK_MONOTONIC."""
    payload: bytes = b""
    """The item, as it travels in a pipe; empty for frames and signal blocks."""


class Moments(msgspec.Struct):
    """The moments of one module in the order in which they were noted."""

    moments: list[Moment] = []
    left_out: int = 0
    """Moments that were not kept, because there were too many."""


class StageTimes:
    """Notes the moments of one module and writes them at the end of the run.

    Args:
        folder: Where to write them.
        module: The module's name, that of the file.
    """

    def __init__(self, folder: Path, module: str) -> None:
        self._path = folder / f"{module}{_SUFFIX}"
        self._kept: list[tuple[int, str, int, int, bytes]] = []
        self._left_out = 0

    def attach(
        self, inputs: Mapping[str, WorkerInput], outputs: Mapping[str, WorkerOutput]
    ) -> None:
        """Note the items of all ports, those of outputs that are not open yet."""
        for port in inputs.values():
            port.note = functools.partial(self._taken, port.id)
            port.timed = functools.partial(self._call, port, port.timed)
        for output in outputs.values():
            output.note = functools.partial(self._sent, output.id, itertools.count())

    def loop(self, name: str, on_error: Callable[[Exception], object]) -> ServiceLoop:
        """Return what makes a driver's calls, and notes when it has bytes."""
        return _NotingLoop(lambda now_ns: self._keep(WOKEN, "", -1, now_ns), name, on_error)

    def save(self) -> None:
        """Write the moments."""
        kept = {"moments": self._kept, "left_out": self._left_out}
        self._path.write_bytes(msgspec.msgpack.encode(kept))

    def _keep(self, kind: int, port: str, number: int, time_ns: int, payload: bytes = b"") -> None:
        if len(self._kept) < _MOST:
            self._kept.append((kind, port, number, time_ns, payload))
        else:
            self._left_out += 1

    def _taken(self, port: str, number: int, payload: bytes | None, _item: Any) -> int:
        now_ns = monotonic_ns()
        self._keep(TAKEN, port, number, now_ns, payload or b"")
        return now_ns // 1000

    def _call(
        self,
        port: WorkerInput,
        timed: Callable[[Callable[[Any], object], Any], object] | None,
        handler: Callable[[Any], object],
        item: Any,
    ) -> None:
        number = port.taken - 1
        if timed is None:
            handler(item)
        else:
            timed(handler, item)
        self._keep(DONE, port.id, number, monotonic_ns())

    def _sent(self, port: str, numbers: itertools.count[int], payload: bytes) -> None:
        self._keep(SENT, port, next(numbers), monotonic_ns(), payload)


class _NotingLoop(ServiceLoop):
    """A `ServiceLoop` that notes when bytes are there."""

    def __init__(
        self, note: OnReadable, name: str, on_error: Callable[[Exception], object]
    ) -> None:
        super().__init__(name, on_error)
        self._note = note

    def on_readable(self, fd: int, call: OnReadable) -> Registration:
        """Call each time a descriptor is readable or hung up, after noting the time."""

        def noted(now_ns: int) -> None:
            self._note(now_ns)
            call(now_ns)

        return super().on_readable(fd, noted)


def read_stages(folder: Path) -> dict[str, Moments]:
    """Return the moments that the modules of a run have written: module → moments."""
    decoder = msgspec.msgpack.Decoder(Moments)
    return {
        path.name.removesuffix(_SUFFIX): decoder.decode(path.read_bytes())
        for path in folder.glob(f"*{_SUFFIX}")
    }
