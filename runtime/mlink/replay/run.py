"""Runs a bench on a recording: checks it, replaces the sources, and runs in virtual time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlink.recording
from mlink.bench import Bench, load_bench
from mlink.bench.subject import Subject
from mlink.engine.options import RunOptions
from mlink.engine.run import run_bench
from mlink.engine.status import RunObserver, RunResult, RunStatus
from mlink.engine.virtual_time.conductor import VirtualTime
from mlink.engine.virtual_time.patient import patient_recorders
from mlink.engine.virtual_time.simulated import digest_of
from mlink.errors import BenchError, StorageError
from mlink.recording.care.repair import left_by_repair
from mlink.recording.care.verify import Level, VerifyReport, verify_recording
from mlink.recording.collection import Recording
from mlink.recording.journal.reading import Journal, read_journal
from mlink.replay.compare import Compared, compare
from mlink.replay.skipped_turns import inputs_on_tape
from mlink.replay.sources import plan_replay
from mlink.storage.inside import RecordingFile
from mlink.storage.uuid7 import uuid7

_LOST_USEC = 2_000_000
"""Longest end of a journal that a kill can lose."""
_IDLE_S = 86_400
"""Time without any item at a recording's end that is replayed only if it is asked for."""


@dataclass(slots=True)
class Replayed:
    """Result of a replay."""

    recording: Path
    """The recording that was replayed."""
    result: RunResult
    notes: list[str] = field(default_factory=list)
    """Known differences from the recorded run."""
    logs: list[tuple[str, int, str]] = field(default_factory=list)
    """(module, level, text) of the log, if no observer was given."""
    printed: list[tuple[str, str]] = field(default_factory=list)
    """(module, text) of the output of scripts, if no observer was given."""

    def compare(self) -> list[Compared]:
        """Compare the recording of the replay with the recorded run (mlink.replay.compare).

        Raises:
            StorageError: The replay was not recorded, or there is nothing to compare.
        """
        if self.result.recording_dir is None:
            raise StorageError(
                "the replay was not recorded, so it cannot be compared",
                remedy="Replay without --no-record (record=True).",
            )
        return compare(self.recording, self.result.recording_dir)


def replay(
    recording: Path | str,
    *,
    bench: Bench | Path | str,
    speed: float | None = None,
    until_s: float | None = None,
    without: Collection[str] = (),
    out_dir: Path | None = None,
    name: str | None = None,
    record: bool = True,
    debug: bool = False,
    observer: RunObserver | None = None,
) -> Replayed:
    """Run a bench with recorded streams in place of its sources.

    Args:
        recording: Folder of the recording.
        bench: The bench, or its file.
        speed: Factor over real time; None runs as fast as possible, and repeatably to the byte.
        until_s: End at this time of the recording, in s; None replays all of it.
        without: Sources, or streams "module.port", that may stay silent although
            they have subscribers.
        out_dir: Where the replay is recorded; None means ./recordings.
        name: Name of the replay's recording; None uses the name of the bench.
        record: Whether to record the replay.
        debug: Include tracebacks in failures.
        observer: Receives status, logs and output; None collects them in the result.

    Raises:
        StorageError: The recording does not exist, is not closed, or is damaged.
        BenchError: The bench is wrong, or needs streams that were not recorded.
    """
    if until_s is not None and not until_s > 0:  # also where it is NaN
        raise BenchError(f"a replay cannot end at {until_s} s", remedy="Name a time above 0.")
    loaded = bench if isinstance(bench, Bench) else load_bench(Path(bench))
    loaded = replace(loaded, subject=Subject(), subjects=())  # the recording's
    report = _check(Path(recording))
    with mlink.recording.open(recording) as source:
        journals = _journals(source)
        last_usec = _end_usec(source, report)
        end_usec = last_usec if until_s is None else round(min(last_usec, until_s * 1e6))
        _check_end(Path(recording), report, end_usec, given=until_s is not None)
        plan = plan_replay(loaded, source, journals, without, whole=end_usec == last_usec)
        created = str(source.manifest["time_created"])
        options = RunOptions(
            out_dir=out_dir,
            name=name,
            record=record,
            debug=debug,
            subject=str(source.attributes.get("subject_id", "")),
            virtual=VirtualTime(
                end_usec,
                speed=speed,
                replayed=plan.replayed,
                on_tape=inputs_on_tape(plan, journals),
                patient=patient_recorders(plan.bench),
                tapes={
                    journal.header.module: str(_journal_file(source, name).path.resolve())
                    for name, journal in journals.items()
                },
                time_created=created,
            ),
            journal=True,
            run_uuid=_run_uuid(source, loaded, end_usec),
            attributes={
                "replay_of": source.collection_id,
                "subject": source.attributes.get("subject"),
            },
        )
    plan.notes += [
        f"the journal of {journals[dataset.name].header.module} ends early: its writer was killed"
        for dataset in report.datasets
        if dataset.kind == "journal" and dataset.stop_usec is None
    ]
    collector = _Collector()
    result = run_bench(plan.bench, options, observer or collector)
    return Replayed(Path(recording), result, plan.notes, collector.logs, collector.printed)


def _check(path: Path) -> VerifyReport:
    """Verify the recording, and return the report.

    Raises:
        StorageError: It is not closed, or damaged.
    """
    report = verify_recording(path)
    findings = report.of_level("damage") or report.of_level("unfinished")
    if not findings:
        return report
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    first = findings[0]
    raise StorageError(
        f"{path} is {'damaged' if first.level == 'damage' else 'not closed'}: "
        f"{first.dataset + ': ' if first.dataset else ''}{first.text}{more}",
        remedy=f"`mlink verify` lists all findings; {_what_to_do(path, first.level)}.",
    )


def _what_to_do(path: Path, level: Level) -> str:
    if level == "unfinished" and not left_by_repair(path):
        return "`mlink repair` closes the recording"
    return "restore the damaged parts from a copy"


def _journals(recording: Recording) -> dict[str, Journal]:
    """Return the journals of a recording by the names of their datasets."""
    names = [name for name, kind in recording.kinds.items() if kind == "journal"]
    return {name: read_journal(_journal_file(recording, name)) for name in names}


def _journal_file(recording: Recording, name: str) -> RecordingFile:
    dataset = recording[name]
    return dataset.file(dataset.part_names[0])


def _end_usec(recording: Recording, report: VerifyReport) -> int:
    """Return the end of the run in µs: when its modules were asked to stop, by their journals.

    Without that it is the recorded length, or else the time of the last item. A killed run ends
    with its journals: items that only recorders still wrote are not replayed to scripts.
    """
    seen = [dataset.stop_usec for dataset in report.datasets if dataset.stop_usec is not None]
    if seen:
        return min(seen)
    length = recording.attributes.get("recording_length_msec")
    if length is not None:
        end_usec = int(length) * 1000 + 1000  # the length is rounded
        journaled_usec = max(
            (each.last_usec or 0 for each in report.datasets if each.kind == "journal"), default=0
        )
        # Journals that end earlier than a kill can explain were idle, not cut off.
        return journaled_usec if journaled_usec > max(0, end_usec - _LOST_USEC) else end_usec
    ends = [0]
    for name in recording:
        try:
            times = recording[name].times_usec
        except StorageError:
            continue  # it has no times
        ends += [int(times[-1])] if len(times) else []
    return max(ends)


def _check_end(path: Path, report: VerifyReport, end_usec: int, *, given: bool) -> None:
    """Refuse an end before the start, or days behind the last item: a replay without end."""
    if end_usec <= 0:
        raise StorageError(f"{path} ends at {end_usec / 1e6:g} s: there is nothing to replay")
    last_usec = max((each.last_usec or 0 for each in report.datasets), default=0)
    idle_s = (end_usec - last_usec) / 1e6
    if idle_s > _IDLE_S and not given:
        raise StorageError(
            f"{path} ends {idle_s / 3600:,.0f} h after its last item, at {last_usec / 1e6:g} s",
            remedy="Name an end: --until SECONDS (until_s=…).",
        )


def _run_uuid(recording: Recording, bench: Bench, end_usec: int) -> bytes:
    """Return the id of the replay: a digest of recording, bench and scripts.

    Two replays of the same inputs thus write identical files, including the ids in them.
    """
    digest = hashlib.blake2b(digest_size=10)
    digest.update(f"{recording.collection_id} {end_usec}".encode())
    digest.update(digest_of(bench))
    created = recording.manifest["time_created"]
    return uuid7(round(created.timestamp() * 1000), digest.digest()).bytes


class _Collector:
    """An observer that collects logs and output."""

    def __init__(self) -> None:
        self.logs: list[tuple[str, int, str]] = []
        self.printed: list[tuple[str, str]] = []

    def on_status(self, status: RunStatus) -> None:
        """Ignore the status."""

    def on_log(self, module: str, level: int, message: str) -> None:
        """Collect a log message."""
        self.logs.append((module, level, message))

    def on_output(self, module: str, text: str) -> None:
        """Collect output of a script."""
        self.printed.append((module, text))
