"""Connects a module's ports, timers and clock to its journal, if it writes one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from mlink.clock import Clock
from mlink.recording.journal.reading import COUNT, Header, Kind, Port
from mlink.storage.edl import Dataset
from mlink.storage.tree import JOURNAL_SUFFIX
from mlink.worker.input_port import WorkerInput
from mlink.worker.journal_writer import JournalClock, JournalWriter
from mlink.worker.output_port import WorkerOutput


class ModuleJournal:
    """Owns a module's journal and its dataset; before `open` all calls do nothing.

    So the host can use it whether or not a journal is requested.
    """

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
        """Create the file and record the items of all ports from now on.

        Args:
            dataset: The dataset that holds the file.
            module: The module's name.
            inputs: Its inputs; their numbers in the journal follow this order.
            outputs: Its outputs; numbered in the same way.
            sources: Input port → the stream that it subscribes to ("module.port").
            clock: The master timer.
            fail: Called with an error of the disk, from the journal's thread.
            in_thread: Whether a thread of the journal writes (real time).

        Raises:
            StorageError: The file cannot be created.
        """
        header = Header(
            module,
            tuple(Port(p.id, p.data_type.name, sources.get(p.id, "")) for p in inputs.values()),
            tuple(Port(p.id, p.data_type.name) for p in outputs.values()),
        )
        path = dataset.path_for_basename(f"{dataset.name}{JOURNAL_SUFFIX}")
        self._dataset = dataset
        self._writer = writer = JournalWriter(path, header, clock, fail=fail, in_thread=in_thread)
        # Registered after it exists: a kill in between leaves no entry without a file.
        dataset.set_data_file(path.name, f"What {module} received and sent")
        for number, port in enumerate(inputs.values()):
            port.note = functools.partial(writer.item, number)
        for number, output in enumerate(outputs.values()):
            output.note = functools.partial(writer.sent, number)

    def clock(self, clock: Clock) -> Clock:
        """Return a clock whose readings are recorded once the run has started."""
        return JournalClock(clock, self._note_clock)

    def call(
        self, number: int, delay_usec: int, call: Callable[[], object]
    ) -> Callable[[], object]:
        """Return a function that records a delayed call and then makes it.

        Args:
            number: Number of the call in this module, from 0.
            delay_usec: Delay that the module has requested.
            call: The call.
        """
        writer = self._writer
        if writer is None:
            return call
        since_usec = writer.last_usec

        def noted() -> None:
            writer.timer(number, delay_usec, since_usec)
            call()

        return noted

    def note_start(self, inputs: Mapping[str, WorkerInput]) -> None:
        """Record the start, and the metadata of the streams that the inputs subscribe to."""
        if self._writer is not None:
            for number, port in enumerate(inputs.values()):
                if port.connected:
                    self._writer.metadata(number, port.metadata)
            self._writer.event(Kind.START)
        self._began = True

    def note_stop(self) -> None:
        """Record that the module is requested to stop."""
        if self._writer is not None:
            self._writer.event(Kind.STOP)

    def note_finish(self) -> None:
        """Record that the module's stop() follows."""
        if self._writer is not None:
            self._writer.event(Kind.FINISH)

    @property
    def last_usec(self) -> int:
        """Time in µs of the last item, call or wait; 0 before the first."""
        return 0 if self._writer is None else self._writer.last_usec

    def note_wait(self, timeout_usec: int, since_usec: int) -> None:
        """Record the end of a wait of the module; a wait of length 0 is not recorded.

        Args:
            timeout_usec: Length of the wait.
            since_usec: `last_usec` at its begin.
        """
        if self._writer is not None and timeout_usec > 0:
            self._writer.wait(timeout_usec, since_usec)

    def _note_clock(self, time_usec: int) -> None:
        if self._writer is not None and self._began:
            self._writer.clock(time_usec)

    def close(self) -> None:
        """Write the remaining records and their number; a second call does nothing."""
        if self._writer is not None and self._dataset is not None:
            self._writer.close()
            self._dataset.set_attribute(COUNT, self._writer.count)
