"""Compares what a disturbed run reports with what is on the disk, and with what was sent.

Each check adds what is wrong to a list: its name, and a text for people.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlink.errors import StorageError
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import VerifyReport, verify_recording
from mlink.storage.manifest import read_toml
from tests.support.recorded.edlio_reader import read_with_edlio
from tests.support.recorded.files import file_of, folder_of, has_recorded
from tests.support.recorded.survival import ffprobe_count
from tests.torture.disturb import HANG_SEC, Outcome
from tests.torture.injections import RECORDERS, allowed

PROMISED_SEC = 2.0
"""What a recorder received up to this long before it was killed is on the disk."""
_ROWS_PER_BLOCK = {"json": 20, "zarr": 20}
_INPUTS = {"video": "frames-in", "events": "rows", "echoes": "rows",
           "json": "f32sig-in", "zarr": "f32sig-in"}  # fmt: skip
_RATES_HZ = {"video": 30}
_ROWS_HZ = 100
"""The script's rows and blocks come at no more than this, however busy its inputs are."""
_HONEST = ("note", "incomplete")
"""Levels of findings about what was lost: nothing is wrong with the files."""
_NEVER = ("Traceback (most recent call last)", "internal error", "bug in mlink", "fault in mlink")


@dataclass(slots=True)
class Verdict:
    """What is wrong about a disturbed run, and what was lost in it."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    """(name of the check, what is wrong)."""
    lost_sec: dict[str, float] = field(default_factory=dict)
    """Dataset → time from its last item on the disk to the kill, for recorders that were killed."""

    @property
    def survived(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, check: str, text: str) -> None:
        """Add a problem."""
        self.problems.append((check, text))


def judge(outcome: Outcome) -> Verdict:
    """Look at everything that a disturbed run showed and left; repairs its recording."""
    verdict = Verdict()
    if outcome.hung:
        verdict.add("hang", f"did not end within {HANG_SEC:g} s")
        return verdict
    _check_ending(outcome, verdict)
    for left in outcome.left:
        verdict.add("left", left)
    if outcome.result is not None:
        _check_account(outcome, verdict)
    recording = outcome.recording
    if recording is not None:
        _check_recording(outcome, recording, verdict)
    elif outcome.code == 0:
        verdict.add("recording", "there is none")
    return verdict


def _check_ending(outcome: Outcome, verdict: Verdict) -> None:
    may = allowed(outcome.injection, outcome.phase)
    result = outcome.result
    if outcome.code not in may.codes and not _came_late(outcome):
        why = result["failures"] if result else outcome.text[-500:]
        verdict.add("exit code", f"{outcome.code}, not {sorted(may.codes)}: {why}")
    for text in _NEVER:
        if text in outcome.text:
            verdict.add("traceback", f"{text!r} in:\n{outcome.text[-2000:]}")
    if result is None:
        if outcome.code in (0, 1) and outcome.phase != "import":
            verdict.add("message", f"no result is printed; printed: {outcome.text[-500:]!r}")
        return
    failures = result["failures"]
    if result["success"] != (outcome.code == 0):
        verdict.add("exit code", f"{outcome.code}, but success is {result['success']}")
    if result["success"] != (not failures):
        verdict.add("message", f"success is {result['success']}, failures are {failures}")
    if outcome.code != 1:
        return
    texts = [f"{failure['module']}: {failure['message']}" for failure in failures]
    if may.names and not any(name in text for name in may.names for text in texts):
        verdict.add("message", f"none of {may.names} is named in {texts}")
    wanted = outcome.injection.target == "engine" and outcome.injection.kind != "pause"
    for failure in failures[:1]:  # others follow from it
        if not failure["message"] or not (failure["remedy"] or wanted):
            verdict.add("message", f"without a cause or a remedy: {failure}")


def _came_late(outcome: Outcome) -> bool:
    """Return whether a request to end came in the last moment before the start: a success then."""
    injection = outcome.injection
    asked = injection.target == "engine" and injection.kind not in ("pause", "kill")
    return asked and outcome.code == 0 and "start" in outcome.phases


def _check_account(outcome: Outcome, verdict: Verdict) -> None:
    """Check that sent = received + lost + queued, and that `sent` is what the script sent."""
    assert outcome.result is not None
    for stream, subscription in _subscriptions(outcome.result["streams"]):
        counts = {key: subscription[key] for key in ("received", "lost", "queued")}
        name = f"{stream['module']}.{stream['port']} → {subscription['module']}"
        if stream["sent"] != sum(counts.values()) or min(counts.values()) < 0:
            verdict.add("account", f"{name}: sent {stream['sent']}, but {counts}")
        if outcome.result["success"] and counts["queued"]:
            verdict.add("account", f"{name}: the run succeeded, but {counts}")
    sent = {f"{s['module']}.{s['port']}": s["sent"] for s in outcome.result["streams"]}
    for name in ("loop.rows", "loop.signals"):
        # A script that is killed may have sent one that it did not note, or not counted some.
        killed = any(failure["module"] == "loop" for failure in outcome.result["failures"])
        if name in sent and not killed and sent[name] != len(outcome.truth):
            verdict.add("account", f"{name}: sent {sent[name]}, but it was {len(outcome.truth)}")


def _subscriptions(streams: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(stream, sub) for stream in streams for sub in stream.get("subscriptions", [])]


def _check_recording(outcome: Outcome, recording: Path, verdict: Verdict) -> None:
    try:
        before = verify_recording(recording)
    except StorageError as error:
        verdict.add("verify", f"{error.message}")
        return
    open_ends = [finding for finding in before.findings if finding.level not in _HONEST]
    if outcome.code == 0 and open_ends:
        verdict.add("verify", f"exit code 0, but {open_ends}")
    if damage := before.of_level("damage"):
        verdict.add("verify", f"damage: {damage}")
    log = recording / "run.log"
    if log.exists() and _NEVER[0] in log.read_text():
        verdict.add("traceback", f"in the recording's log: {log.read_text()[-1500:]}")
    if outcome.result is not None:
        _compare_with_account(outcome, recording, before, verdict)
    _check_repair(recording, verdict)
    _check_promise(outcome, recording, verdict)


def _compare_with_account(
    outcome: Outcome, recording: Path, report: VerifyReport, verdict: Verdict
) -> None:
    """Check that the datasets hold what their recorders received by the account."""
    assert outcome.result is not None
    failed = {failure["module"] for failure in outcome.result["failures"]}
    there = {_short(dataset.name): dataset.items or 0 for dataset in report.datasets}
    for _, subscription in _subscriptions(outcome.result["streams"]):
        name = subscription["module"]
        if name not in RECORDERS or name in failed or name not in there:
            if name in RECORDERS and name not in failed and subscription["received"]:
                verdict.add("account", f"{name}: received items, but there is no dataset")
            continue
        items = subscription["received"] * _ROWS_PER_BLOCK.get(name, 1)
        if there[name] != items:
            verdict.add("account", f"{name}: received {items}, on the disk {there[name]}")
        lost = _attributes(folder_of(recording, name)).get("items_lost", 0)
        if lost != subscription["lost"]:
            verdict.add("account", f"{name}: lost {subscription['lost']}, its dataset: {lost}")
    if _no_room_for_the_account(outcome.result):
        return
    incomplete = {
        _short(finding.dataset) for finding in report.findings if finding.level == "incomplete"
    }
    for _, subscription in _subscriptions(outcome.result["streams"]):
        name, missing = subscription["module"], subscription["lost"] + subscription["queued"]
        if name in failed and not missing:
            continue  # what a killed recorder had received is not all on the disk
        if name in there and bool(missing) != (name in incomplete):
            verdict.add("verify", f"{name}: {missing} missing, incomplete: {sorted(incomplete)}")
    kept = _attributes(recording).get("streams", [])
    noted = {(s["name"], sub["module"], sub["port"]):
             (s["sent"], sub["received"], sub["lost"], sub.get("not_taken", 0))
             for s, sub in _subscriptions(kept)}  # fmt: skip
    for stream, sub in _subscriptions(outcome.result["streams"]):
        key = (f"{stream['module']}.{stream['port']}", sub["module"], sub["port"])
        counts = (stream["sent"], sub["received"], sub["lost"], sub["queued"])
        if noted.get(key) != counts:
            verdict.add("account", f"{key}: {counts} in --json, {noted.get(key)} in the recording")


def _short(name: str) -> str:
    """Return the name of a dataset without its group; here it is that of its recorder."""
    return name.rpartition("/")[2]


def _no_room_for_the_account(result: dict[str, Any]) -> bool:
    """Return whether the run reports that the disk did not even accept its result."""
    failures = result["failures"]
    return any(not f["module"] and "No space left" in f["message"] for f in failures)


def _attributes(folder: Path) -> dict[str, Any]:
    path = folder / "attributes.toml"
    return read_toml(path) if path.exists() else {}


def _check_repair(recording: Path, verdict: Verdict) -> None:
    """Repair, then open everything with mlink, edlio and ffprobe."""
    try:
        report = repair_recording(recording)
        after = verify_recording(recording, decode=True)
    except StorageError as error:
        verdict.add("repair", error.message)
        return
    if report.failed or any(finding.level not in _HONEST for finding in after.findings):
        verdict.add("repair", f"failed: {report.failed}; after it: {after.findings}")
    try:
        found = read_with_edlio("collection", recording)["datasets"]
        video = {}
        if has_recorded(recording, "video"):
            video = found.get(folder_of(recording, "video").relative_to(recording).as_posix(), {})
        frames, times = video.get("frames", 0), video.get("tsync_entries", 0)
        probed = ffprobe_count(file_of(recording, "video")) if frames else 0
    except Exception as error:  # whatever others' readers raise
        verdict.add("readers", f"{type(error).__name__}: {error}")
        return
    if not frames == times == probed:
        verdict.add("readers", f"edlio: {frames} frames, {times} times; ffprobe: {probed}")


def _check_promise(outcome: Outcome, recording: Path, verdict: Verdict) -> None:
    """Check that a kill cost no more than the last 2 s; measure how much."""
    injection = outcome.injection
    if injection.kind not in ("kill", "terminate", "hang-up") or outcome.phase not in (
        "run",
        "stop",
    ):
        return
    if injection.target == "worker":
        killed = (injection.module,) if injection.module in RECORDERS else ()
    else:
        killed = RECORDERS if injection.target in ("engine", "everything", "fork server") else ()
    last = {_short(d.name): d for d in verify_recording(recording).datasets}
    sent_at = {number: at for number, _, at in outcome.truth}
    for name in killed:
        dataset = last.get(name)
        items = (dataset.items or 0) // _ROWS_PER_BLOCK.get(name, 1) if dataset else 0
        known = outcome.received.get(f"{name}.{_INPUTS[name]}", 0)
        promised = known - PROMISED_SEC * _RATES_HZ.get(name, _ROWS_HZ)
        if items < promised:
            verdict.add("lost", f"{name}: {items} on the disk, {known} were received before")
        if items and name == "video" and dataset is not None and outcome.truth:
            _, usec, at = outcome.truth[0]
            last_at = at + ((dataset.last_usec or 0) - usec) / 1e6
        elif items and outcome.truth:
            last_at = sent_at.get(_last_number(recording, name, items), 0.0)
        else:
            continue
        verdict.lost_sec[name] = max(0.0, outcome.at - last_at)


def _last_number(recording: Path, name: str, items: int) -> int:
    """Return the number of the last row of a dataset; nothing was lost before, in these runs."""
    if name not in ("events", "echoes"):
        return items - 1
    (path,) = (recording / name).glob("*.csv")
    rows = list(csv.reader(io.StringIO(path.read_text()), delimiter=";"))
    return int(rows[-1][0])
