"""The dataset of the recording that a module's journal lies in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from mlink.clock import Clock
from mlink.recording.journal import Header, Port
from mlink.recording.journal_check import COUNT
from mlink.storage.edl import Dataset
from mlink.storage.tree import JOURNAL_SUFFIX
from mlink.worker.journal import JournalWriter
from mlink.worker.ports import WorkerInput, WorkerOutput


class JournalDataset:
    """An open journal: `writer` is told by the module's ports what it meets and sends."""

    def __init__(
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
        self._dataset = dataset
        header = Header(
            module,
            tuple(Port(p.id, p.data_type.value, sources.get(p.id, "")) for p in inputs.values()),
            tuple(Port(p.id, p.data_type.value) for p in outputs.values()),
        )
        path = dataset.path_for_basename(f"{dataset.name}{JOURNAL_SUFFIX}")
        self.writer = JournalWriter(path, header, clock, fail=fail, in_thread=in_thread)
        # It is registered when it is there: a kill in between leaves nothing that is missing.
        dataset.set_data_file(path.name, f"What {module} met and sent")
        for number, port in enumerate(inputs.values()):
            port.note = functools.partial(self.writer.item, number)
        for number, output in enumerate(outputs.values()):
            output.note = functools.partial(self.writer.sent, number)

    def close(self) -> None:
        """Write the rest, and how many records there are; calling it again does nothing."""
        self.writer.close()
        self._dataset.set_attribute(COUNT, self.writer.count)
