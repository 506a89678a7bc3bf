"""The account in a recording: what was sent to each recorder, and where that is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlink.storage.edl import Dataset

ACCOUNT = "streams"
"""The attribute of a recording that has the account; one whose run was killed has none."""
DATASETS = "datasets"
"""The attribute of a recording that lists its datasets, as paths below it, at the run's end."""
HOSTS = "hosts"
"""The attribute of a recording of several machines: what it has of each, and what it has not."""
UNLISTED = "items_lost_unlisted"
"""The attribute of a dataset that counts those of its `items_lost` that are in none of `gaps`."""
_ATTRIBUTE = "subscription"


class Delivery(msgspec.Struct, frozen=True):
    """Counts of one subscription at the end of the run: sent = received + lost + not_taken."""

    stream: str
    sent: int
    received: int
    lost: int
    not_taken: int
    lost_at_source: int


class Recorded(msgspec.Struct, frozen=True):
    """The subscription that a dataset records, as in the dataset's attribute `subscription`."""

    module: str
    port: str
    data_type: str


def note_subscription(dataset: Dataset, module: str, port: str, data_type: str) -> None:
    """Write into a dataset which subscription it records."""
    found = Recorded(module, port, data_type)
    dataset.set_attribute(_ATTRIBUTE, msgspec.structs.asdict(found))


def unlisted(lost: int, gaps: object) -> int:
    """Return how many of `lost` items are in none of the listed gaps, as read from a file."""
    listed = gaps if isinstance(gaps, list) else []
    return lost - sum(int(gap.get("lost", 0)) for gap in listed if isinstance(gap, dict))


def recorded_by(attributes: Mapping[str, Any]) -> Recorded | None:
    """Return the subscription that a dataset records; None if that is not known."""
    try:
        return msgspec.convert(attributes.get(_ATTRIBUTE), Recorded)
    except msgspec.ValidationError:
        return None


def read_account(attributes: Mapping[str, Any]) -> dict[tuple[str, str], Delivery]:
    """Return the counts of each subscription (module, port) in a recording's attributes.

    Empty when the run was killed, or the recording is not one of this program.
    """
    found: dict[tuple[str, str], Delivery] = {}
    for stream in attributes.get(ACCOUNT, ()):
        try:
            for each in stream["subscriptions"]:
                counts = {"stream": stream["name"], "sent": stream["sent"], **each}
                counts.setdefault("not_taken", 0)
                counts["lost_at_source"] = stream.get("lost_at_source", 0)
                found[each["module"], each["port"]] = msgspec.convert(counts, Delivery)
        except (KeyError, TypeError, AttributeError, msgspec.ValidationError):
            continue  # not written by this program
    return found


def left_elsewhere(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the hosts whose part is not in a recording, each with the reason."""
    hosts = attributes.get(HOSTS)
    return {
        str(name): str(about.get("not_gathered", "not gathered yet"))
        for name, about in (hosts.items() if isinstance(hosts, dict) else ())
        if isinstance(about, dict) and not about.get("gathered")
    }
