"""What a module sees of its run besides its streams: settings, clock, log, device, datasets."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from mlink.channel import Channel
from mlink.clock import Clock, MasterClock
from mlink.control import EngineMessages
from mlink.devices import DeviceEndpoint
from mlink.metadata import Metadata
from mlink.module import ModuleSettings, RunInfo
from mlink.steered_clock import SteeredClock
from mlink.storage.edl import Dataset, Group, create_dataset
from mlink.storage.naming import split_proposal
from mlink.worker.module_journal import ModuleJournal
from mlink.worker.reports import Reporting
from mlink.worker_spec import WorkerSpec

_HOST_PART = "host_clock_usec"


class ModuleFacts(Reporting):
    """Facts of the run for the module of this process, in real and in virtual time.

    Args:
        spec: The worker's spec.
        settings: The module's settings.
        channel: The control channel to the engine.
    """

    def __init__(
        self, spec: WorkerSpec, settings: ModuleSettings, channel: Channel[EngineMessages]
    ) -> None:
        super().__init__(spec, channel)
        self.settings: Any = settings
        self.master_clock: Clock = MasterClock()
        self.clock: Clock = self.master_clock
        self.journal = ModuleJournal()
        if spec.journal:
            self.clock = self.journal.clock(self.master_clock)
        self._steered: SteeredClock | None = None
        self.log = logging.getLogger(f"mlink.module.{spec.name}")
        self.run_info = RunInfo(
            run_uuid=spec.run_uuid,
            bench_name=spec.bench_name,
            bench_dir=Path(spec.bench_dir),
            work_dir=Path(spec.work_dir),
            recording_dir=Path(spec.recording_dir) if spec.recording_dir else None,
            debug=spec.debug,
            subject=spec.subject,
            subject_group=spec.subject_group,
            compat=spec.compat,
            time_created=datetime.fromisoformat(spec.time_created) if spec.time_created else None,
        )
        self.datasets: list[Dataset | Group] = []

    def follow(self, clock: SteeredClock) -> None:
        """Take master time from a clock that another machine leads; before the module is built."""
        self.master_clock = self.clock = self._steered = clock
        if self.spec.journal:
            self.clock = self.journal.clock(clock)

    def with_host(self, metadata: Metadata) -> Metadata:
        """Return an output's metadata; its times are as uncertain as this host's clock, and more.

        `host_clock_usec` is the part of the host. On the machine that leads nothing is added, and
        nowhere to what a module has taken over from a stream whose times have it already.
        """
        if self._steered is None or _HOST_PART in metadata:
            return metadata
        host_usec = self._steered.uncertainty_usec()
        own = metadata.get("uncertainty_usec", 0)
        if not isinstance(own, int | float) or host_usec < 0:
            return metadata
        return {**metadata, "uncertainty_usec": own + host_usec, _HOST_PART: host_usec}

    @property
    def name(self) -> str:
        """The module's name in the bench."""
        return self.spec.name

    @property
    def type_id(self) -> str:
        """The module's type."""
        return self.spec.type_id

    @property
    def device(self) -> DeviceEndpoint | None:
        """The opened device of this module; None without one."""
        return self.spec.device

    def create_dataset(self, preferred_name: str = "", group: str = "") -> Dataset | None:
        """Create a dataset in the recording, which is saved at the end of the run.

        Args:
            preferred_name: Its name, "" for the module's; made unique if it exists.
            group: The group it belongs to; "" for the collection itself.

        Returns:
            The dataset; None when the run is not recorded.

        Raises:
            StorageError: It cannot be created.
        """
        if self.run_info.recording_dir is None:
            return None
        dataset = create_dataset(
            self.run_info.recording_dir,
            preferred_name or self.name,
            group=group,
            collection_id=self.run_info.run_uuid,
            time_created=self.run_info.time_created,
        )
        for key, value in self.spec.dataset_attributes.items():
            dataset.set_attribute(key, value)
        self.datasets.append(dataset)
        if (found := dataset.path.name) != (wanted := split_proposal(preferred_name)[1] or found):
            self.log.info("its data is in %s: another module's is in %s", found, wanted)
        return dataset
