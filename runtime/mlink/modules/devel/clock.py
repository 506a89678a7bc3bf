"""The `devel.clock` module: pulses at equal intervals of the master timer."""

from __future__ import annotations

import mlink
from mlink.module import Module
from mlink.modules.devel.catalog import ClockSettings
from mlink.modules.devel.ticks import Ticks
from mlink.storage.tsync.layout import MASTER_TIME, TimeColumn, TimeType, TimeUnit
from mlink.storage.tsync.writer import TsyncWriter
from mlink.types import ControlCommand, ControlCommandKind

_FILE = "time-pulses.tsync"
_NUMBER = TimeColumn("no", TimeUnit.INDEX, TimeType.UINT32)


class ClockModule(Module[ClockSettings]):
    """Sends a pulse and a row at each tick; a tsync file has the time of each.

    Times are those at which a pulse was sent. In Syntalos each delay moves all later pulses; here
    it moves none.
    """

    _ticks: Ticks | None = None
    _file: TsyncWriter | None = None

    def prepare(self) -> None:
        """Set the header of the rows."""
        self.context.outputs["table-out"].metadata.update(
            {
                "table_header": ["Time (µs)"],
                "data_name_proposal": f"table-{self.context.name}/time-pulses",
            }
        )

    def start(self) -> None:
        """Create the file and begin; the first pulse comes after one interval."""
        dataset = self.context.create_dataset()
        if dataset is not None:
            created = self.context.run_info.time_created
            self._file = TsyncWriter(
                dataset.path_for_basename(_FILE),
                collection_id=dataset.collection_id,
                generator=f"mlink {mlink.__version__} {self.context.name}",
                columns=(_NUMBER, MASTER_TIME),
                custom={"interval_us": self.settings.interval_us},
                time_created=None if created is None else int(created.timestamp()),
            )
            dataset.set_data_file(_FILE, summary="Times of the pulses")
            dataset.save()
        interval_ns = self.settings.interval_us * 1000
        self._ticks = Ticks(self.context, interval_ns, self._pulse)

    def halt(self) -> None:
        """Send no more."""
        if self._ticks is not None:
            self._ticks.close()

    def stop(self) -> None:
        """Report the number of pulses, and close the file."""
        if self._file is not None:
            self.context.report("pulses", self._file.count)
        self.close()

    def close(self) -> None:
        """End the ticks and close the file, also after a failure."""
        self.halt()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _pulse(self, number: int) -> None:
        time_usec = self.context.clock.now_usec()
        self.context.outputs["pulse-out"].submit(ControlCommand(ControlCommandKind.STEP))
        self.context.outputs["table-out"].submit([str(time_usec)])
        if self._file is not None:
            self._file.append(number, time_usec)
