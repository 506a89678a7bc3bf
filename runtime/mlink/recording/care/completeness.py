"""Compares what a dataset contains with the run's account of what was sent to it."""

from __future__ import annotations

from collections.abc import Mapping

from mlink.recording.care.checks import Checked
from mlink.storage.account import UNLISTED, Delivery, recorded_by
from mlink.storage.tree import UnitFolder
from mlink.transport.codec import SIGNAL_BLOCKS

_BLOCKS = {each.name for each in SIGNAL_BLOCKS}


def what_is_missing(
    unit: UnitFolder, checked: Checked, account: Mapping[tuple[str, str], Delivery]
) -> str | None:
    """Return what a dataset lacks of all that was sent to it; "" if nothing, None if not known.

    Args:
        unit: The dataset.
        checked: What was found in it.
        account: The run's account; empty after a kill.
    """
    source = recorded_by(unit.attributes)
    if source is None:  # no recorder's, or of an older version
        return _own_count(unit)
    sent = account.get((source.module, source.port))
    if sent is None:
        return _own_count(unit) or None
    skipped = int(unit.attributes.get("frames_skipped", 0))  # paused by a command
    written = _items(unit, checked, source.data_type)
    if written is None and source.data_type in _BLOCKS and sent.received:
        lacking = sent.lost + sent.not_taken
        return (
            f"its recorder was ended before it had closed it: of {sent.received} block(s) that it "
            f"had received, the last may be missing; {lacking} of {sent.sent} did not reach it"
        )
    if written is None:
        missing, unwritten = sent.lost + sent.not_taken, 0
    else:
        # A recorder that was killed has written more than it has reported as received.
        missing = sent.sent - written - skipped
        unwritten = max(0, missing - sent.lost - sent.not_taken)
    if missing <= 0:
        return _own_count(unit)
    counts = {
        f"lost before {sent.stream} could send them": sent.lost_at_source,
        "lost on the way": sent.lost - sent.lost_at_source,
        "not taken by the recorder": missing - sent.lost - unwritten,
        "received, but not in its files": unwritten,
    }
    causes = ", ".join(f"{count} {what}" for what, count in counts.items() if count > 0)
    return f"{missing} of {sent.sent} item(s) that were sent to it are missing: {causes}"


def _own_count(unit: UnitFolder) -> str:
    lost, gaps = unit.attributes.get("items_lost", 0), unit.attributes.get("gap_count", 0)
    rest = unit.attributes.get(UNLISTED, 0)
    where = f"in {gaps} gap(s)" if gaps else "at unknown places"
    if gaps and rest:
        where += f", {rest} of them in gaps that are not listed"
    return f"{lost} item(s) did not reach the recorder, {where}" if lost else ""


def _items(unit: UnitFolder, checked: Checked, data_type: str) -> int | None:
    """Return how many of the stream's items a dataset has; None if that is not known."""
    if unit.kind == "empty":
        return 0
    if data_type in _BLOCKS:
        count = unit.attributes.get("block_count")
        return count if isinstance(count, int) else None
    return checked.items
