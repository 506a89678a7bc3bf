"""The recording of a run: its collection, its log file, and the attributes of its manifest."""

from __future__ import annotations

import contextlib
import logging
import platform
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from mlink import __version__
from mlink.bench import Bench
from mlink.devices import DeviceEndpoint
from mlink.engine.account.gaps import GapLog
from mlink.engine.account.host_clock import HostClockAccount
from mlink.engine.options import RunOptions
from mlink.engine.status import RunResult, RunStatus
from mlink.errors import StorageError
from mlink.steered_clock import SteeredClock
from mlink.storage.account import ACCOUNT, DATASETS, UNLISTED, Recorded, recorded_by, unlisted
from mlink.storage.edl import Author, Collection, create_collection
from mlink.storage.failures import storage_errors
from mlink.storage.machine import machine, versions
from mlink.storage.manifest import ATTRIBUTES, MANIFEST, write_toml
from mlink.storage.place import moniker, recording_path
from mlink.storage.tree import UnitFolder, units_below
from mlink.worker_spec import HANDLER_TIMES, Cost

_LOG_FILE = "run.log"
_LOG_BYTES = 64_000_000
"""Longest log of a recording; warnings and errors may take half as much again."""


class Recording:
    """Owns a run's collection folder and its log file.

    Args:
        bench: The bench that runs.
        options: Where and under which name to record.
        run_uuid: The collection's id, 16 bytes.

    Raises:
        StorageError: The folder cannot be created.
    """

    def __init__(self, bench: Bench, options: RunOptions, run_uuid: bytes) -> None:
        now = datetime.now().astimezone()
        created = options.virtual.time_created if options.virtual else ""
        out_dir = options.out_dir or Path("recordings")
        self._subject = bench.subject_of(options.subject)
        missing = [folder for folder in (out_dir, *out_dir.parents) if not folder.exists()]
        storage = options.storage or bench.storage
        self._name = options.name or storage.experiment_id or bench.name
        self.path, name = recording_path(
            out_dir, storage, self._subject.id, self._name, now, runs=options.runs, run=options.run
        )
        inside = len(self.path.relative_to(out_dir).parts) - 1
        self._above = [*list(self.path.parents)[:inside], *missing]
        """Folders that were made for this recording, or for others of mlink; innermost first."""
        self._bench = bench
        self._options = options
        if not self._is_repeatable:
            self._name = name
        self._gaps = GapLog()
        self._host_clock: HostClockAccount | None = None
        self._priorities: dict[str, str] = {}
        self._handler_times: dict[str, dict[str, Cost]] = {}
        self._devices: dict[str, dict[str, object]] = {}
        try:
            self._collection: Collection = create_collection(
                self.path,
                collection_id=run_uuid,
                generator=f"mlink {__version__}",
                time_created=datetime.fromisoformat(created) if created else now,
                authors=(Author(options.experimenter),) if options.experimenter else (),
                # Written at the beginning: a run that is killed has them too.
                attributes=self._known_at_start(),
                moniker=moniker(run_uuid) if storage.add_moniker else "",
            )
        except StorageError:
            self._remove_empty(self.path, *self._above)
            raise
        self.has_output = False
        """Whether a script has printed something while the run lasted: its log is data then."""
        self._held: list[tuple[str, str]] = []
        """In virtual time: (module, line) of the log at the present time."""
        self._held_usec = 0
        self._log_bytes = 0
        self._log_left_out = 0
        self._log: IO[str] | None = None
        try:
            with storage_errors(self.path / _LOG_FILE):
                self._log = (self.path / _LOG_FILE).open(
                    "w", encoding="utf-8", errors="backslashreplace"
                )
        except StorageError:
            self._remove()
            raise

    def write_log(self, time_usec: int, module: str, level: int, text: str) -> None:
        """Append a line to the recording's log; an error of the disk ends the log, not the run.

        Lines beyond the limit are left out; the log's last line has their number.

        Args:
            time_usec: Master time in µs.
            module: The module's name; "" for the engine.
            level: A `logging` level.
            text: The message.
        """
        if self._log is None:
            return
        name = logging.getLevelName(level)
        line = f"{time_usec / 1e6:12.6f} {name:7} {module or 'mlink'}: {text}\n"
        limit = _LOG_BYTES if level < logging.WARNING else _LOG_BYTES * 3 // 2
        if self._log_bytes + len(line) > limit:
            self._log_left_out += 1
            return
        self._log_bytes += len(line)
        if self._options.virtual is None:
            self._write_lines([line])
            return
        # Modules that stop at one virtual time do so side by side: their lines get a fixed order.
        if time_usec != self._held_usec:
            self._write_held()
            self._held_usec = time_usec
        self._held.append((module, line))

    def _write_held(self) -> None:
        held, self._held = self._held, []
        self._write_lines([line for _, line in sorted(held, key=lambda entry: entry[0])])

    def _write_lines(self, lines: list[str]) -> None:
        if self._log is None:
            return
        try:
            self._log.writelines(lines)
            self._log.flush()
        except OSError:
            self._end_log()

    def _end_log(self) -> None:
        if self._held:
            self._write_held()
        log, self._log = self._log, None
        if log is not None:
            with contextlib.suppress(OSError):  # what is still buffered on a full disk
                if self._log_left_out:
                    limit = f"the log's limit of {_LOG_BYTES // 1_000_000} MB"
                    log.write(f"… {self._log_left_out:,} lines left out: {limit} was reached\n")
                log.close()

    def close(self, result: RunResult) -> None:
        """Write the run's result into the manifest.

        Raises:
            StorageError: The manifest cannot be written.
        """
        self._end_log()
        host_clock = {} if self._host_clock is None else {"host_clock": self._host_clock.close()}
        reason = "; ".join(str(failure) for failure in result.failures)
        try:
            self._collection.save(
                success=result.success,
                failure_reason=reason,
                attributes={**self._attributes(result), **host_clock},
            )
        except OSError as error:
            raise StorageError(
                f"the recording's manifest cannot be written: {error.strerror}: {self.path}",
                remedy="Free space on that disk; the data files themselves are closed.",
            ) from error

    def note_losses(self, result: RunResult) -> None:
        """Write into each dataset what did not reach its recorder, where that has not done so.

        One that was killed has written what it knew at its last flush; the engine knows the rest.

        Raises:
            StorageError: A dataset's attributes cannot be read or written.
        """
        lost = {
            Recorded(each.module, each.port, stream.data_type): each.lost
            for stream in result.streams
            for each in stream.subscriptions
        }
        for unit in units_below(self.path):
            source = recorded_by(unit.attributes)
            if source in lost and unit.attributes.get("items_lost", -1) < lost[source]:
                rest = unlisted(lost[source], unit.attributes.get("gaps"))
                attributes = unit.attributes | {"items_lost": lost[source], UNLISTED: rest}
                write_toml(unit.path / ATTRIBUTES, attributes)

    def discard_if_empty(self, result: RunResult) -> bool:
        """Remove the recording of a run that failed before anything was sent, printed or written.

        Its folder may have manifests, the log, and files of recorders that received nothing.

        Returns:
            Whether it was removed.
        """
        if result.success or self.has_output or any(each.sent for each in result.streams):
            return False
        try:
            if any(_has_data(unit) for unit in units_below(self.path)):
                return False
        except (StorageError, OSError):
            return False
        self._end_log()
        self._remove()
        return not self.path.exists()

    def _remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_empty(*self._above)

    @staticmethod
    def _remove_empty(*folders: Path) -> None:
        """Remove folders, innermost first, up to one that contains something or is not there."""
        with contextlib.suppress(OSError):  # there are other recordings
            for folder in folders:
                folder.rmdir()

    def note_priority(self, module: str, nice: int) -> None:
        """Keep the nice value of a module's process for the manifest."""
        if not self._is_repeatable:
            self._priorities[module] = f"nice {nice}"

    def note_handler_times(self, module: str, handled: Mapping[str, Mapping[int, int]]) -> None:
        """Keep the times that a module's handlers took for the manifest: input → µs → how often."""
        if handled:
            self._handler_times[module] = {port: Cost.of(times) for port, times in handled.items()}

    def note_devices(self, devices: Mapping[str, DeviceEndpoint]) -> None:
        """Keep what each device is for the manifest, and how it is simulated."""
        self._devices = {
            name: {"device": each.spec, **each.properties} for name, each in devices.items()
        }

    def follow(self, clock: SteeredClock) -> None:
        """Record how sure the times of this host are, which another machine leads."""
        self._host_clock = HostClockAccount(
            clock, self.path, self._collection.collection_id, datetime.now().astimezone()
        )

    def watch(self, status: RunStatus) -> None:
        """Compare the counts of a snapshot with the last one, to list losses by time."""
        if self._host_clock is not None:
            self._host_clock.look()
        self._gaps.watch(status.streams, status.elapsed_s)

    @property
    def _is_repeatable(self) -> bool:
        """Whether another run has to give the same files, on another machine as well."""
        virtual = self._options.virtual
        return virtual is not None and self._options.simulated and virtual.time_created != ""

    def _known_of_here(self) -> dict[str, object]:
        """Return what another machine would have otherwise: nothing of it in a repeatable run."""
        if self._is_repeatable:
            return {"machine_node": None}
        return {
            "machine_node": platform.node(),
            "machine": machine(),
            "bench_dir": str(self._bench.dir),
        }

    def _known_at_start(self) -> dict[str, object]:
        return {
            "collection_name": self._name,
            **self._known_of_subject(),
            "user_comment": self._options.comment,
            **self._known_of_here(),
            "versions": versions(),
            **({"time": "real"} if self._options.virtual is None else {}),
            **self._options.attributes,
            "bench_name": self._bench.name,
            "modules": [
                {"id": module.type.id, "name": module.name}
                for module in self._bench.modules.values()
            ],
        }

    def _known_of_subject(self) -> dict[str, object]:
        facts = self._subject.facts
        known: dict[str, object] = {"subject_id": facts.pop("id", "")}
        known |= {f"subject_{key}": facts.pop(key, None) for key in ("group", "comment")}
        return {**known, "subject": facts or None}

    def _attributes(self, result: RunResult) -> dict[str, object]:
        self._gaps.watch(result.streams, result.duration_s)
        attributes: dict[str, object] = {
            "recording_length_msec": round(result.duration_s * 1000),
            "stop_reason": result.stop_reason,
            "failures": [
                {
                    "module": failure.module,
                    "phase": failure.phase,
                    "message": failure.message,
                    "remedy": failure.remedy,
                }
                for failure in result.failures
            ],
            ACCOUNT: [
                {
                    "name": stream.name,
                    "data_type": stream.data_type,
                    "sent": stream.sent,
                    "lost_at_source": stream.lost_at_source,
                    "rate_hz": round(stream.rate_hz, 4),
                    "subscriptions": [
                        {
                            "module": subscription.module,
                            "port": subscription.port,
                            "received": subscription.received,
                            "lost": subscription.lost,
                            "refused": subscription.refused,
                            "not_taken": subscription.not_taken,
                            **self._gaps.of(stream.name, subscription),
                        }
                        for subscription in stream.subscriptions
                    ],
                }
                for stream in result.streams
            ],
            DATASETS: self._datasets(),
            "reports": result.reports,
            "hints": result.hints,
            "error_messages": result.error_messages or None,
            HANDLER_TIMES: msgspec.to_builtins(self._handler_times),
            "devices": self._devices,
            "priorities": self._priorities
            | {  # a camera reports the priority of its capture thread
                module: report["priority"]
                for module, report in result.reports.items()
                if "priority" in report
            },
        }
        # Empty values are left out of the file; without an account it would not count as complete.
        return {
            key: value
            for key, value in attributes.items()
            if key == ACCOUNT or value not in ([], {}, "")
        }

    def _datasets(self) -> list[str]:
        """Return the datasets that there are now; nothing if a folder cannot be listed."""
        try:
            return [unit.name for unit in units_below(self.path) if unit.type == "dataset"]
        except StorageError:
            return []


def _has_data(unit: UnitFolder) -> bool:
    """Return whether a unit has files other than those of recorders and journals."""
    if unit.type != "dataset":
        return bool(unit.problem)
    files = any(path.name not in (MANIFEST, ATTRIBUTES) for path in unit.path.iterdir())
    return files and unit.kind != "journal" and recorded_by(unit.attributes) is None
