"""A module's side of its journal: what it meets and sends is noted, where that is wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from mlink.clock import Clock
from mlink.recording.journal import COUNT, Header, Kind, Port
from mlink.storage.edl import Dataset
from mlink.storage.tree import JOURNAL_SUFFIX
from mlink.worker.journal_writer import JournalClock, JournalWriter
from mlink.worker.ports import WorkerInput, WorkerOutput


class ModuleJournal:
    """Owns a module's journal and its dataset; until `open` was called, all notes do nothing."""

    def __init__(self) -> None:
        self._dataset: Dataset | None = None
        self._writer: JournalWriter | None = None
        self._began = False

    def open(
        self,
        dataset: Dataset,
        module: str,
        inputs: Mapping[str, WorkerInput],
        outputs: Mapping[str, WorkerOutput],
        sources: Mapping[str, str],
        clock: Clock,
        *,
        fail: Callable[[BaseException], None],
        in_thread: bool,
    ) -> None:
        """Begin the file; what the ports carry is noted from now on."""
        header = Header(
            module,
            tuple(Port(p.id, p.data_type.value, sources.get(p.id, "")) for p in inputs.values()),
            tuple(Port(p.id, p.data_type.value) for p in outputs.values()),
        )
        path = dataset.path_for_basename(f"{dataset.name}{JOURNAL_SUFFIX}")
        self._dataset = dataset
        self._writer = writer = JournalWriter(path, header, clock, fail=fail, in_thread=in_thread)
        # It is registered when it is there: a kill in between leaves nothing that is missing.
        dataset.set_data_file(path.name, f"What {module} met and sent")
        for number, port in enumerate(inputs.values()):
            port.note = functools.partial(writer.item, number)
        for number, output in enumerate(outputs.values()):
            output.note = functools.partial(writer.sent, number)

    def clock(self, clock: Clock) -> Clock:
        """Return a clock whose answers are noted from the start on."""
        return JournalClock(clock, self._note_clock)

    def call(
        self, number: int, delay_usec: int, call: Callable[[], object]
    ) -> Callable[[], object]:
        """Return a delayed call that is noted when it is made."""
        writer = self._writer
        if writer is None:
            return call

        def noted() -> None:
            writer.timer(number, delay_usec)
            call()

        return noted

    def note_start(self, inputs: Mapping[str, WorkerInput]) -> None:
        """The run begins; what the sources of the inputs say of their streams is known."""
        if self._writer is not None:
            for number, port in enumerate(inputs.values()):
                if port.connected:
                    self._writer.metadata(number, port.metadata)
            self._writer.event(Kind.START)
        self._began = True

    def note_stop(self) -> None:
        """The module is asked to stop."""
        if self._writer is not None:
            self._writer.event(Kind.STOP)

    def note_finish(self) -> None:
        """The module's stop() is about to be called."""
        if self._writer is not None:
            self._writer.event(Kind.FINISH)

    def note_wait(self, timeout_usec: int) -> None:
        """A wait of the module's has ended; one of no length is none."""
        if self._writer is not None and timeout_usec > 0:
            self._writer.wait(timeout_usec)

    def _note_clock(self, time_usec: int) -> None:
        if self._writer is not None and self._began:
            self._writer.clock(time_usec)

    def close(self) -> None:
        """Write the rest, and how many records there are; calling it again does nothing."""
        if self._writer is not None and self._dataset is not None:
            self._writer.close()
            self._dataset.set_attribute(COUNT, self._writer.count)
