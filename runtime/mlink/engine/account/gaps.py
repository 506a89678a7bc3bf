"""When, where and why streams lost items, from the counts that workers send while the run lasts.

The engine logs the losses, and not the modules that see the gaps: only the sender knows why an item
did not reach a subscription.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from mlink.engine.status import Failure, StreamStatus, SubscriptionStatus
from mlink.storage.account import unlisted
from mlink.tap.catalog import TAP_NAME
from mlink.transport.records import LIKELY_QUEUE

_MAX_LISTED = 200
"""Most gaps listed for one subscription; its total count is not limited."""
_PERIOD_S = 1.0
"""Shortest time between two lines about the same cause in the same place."""
_LONGEST_PERIOD_S = 60.0
"""The same where the loss lasts: the time doubles from line to line."""


class GapLog:
    """Adds a gap whenever a subscription's lost count has grown (counts come every 0.25 s).

    So the time of a gap is known to about 0.25 s; datasets of recorders have exact positions.
    """

    def __init__(self) -> None:
        self._lost: dict[tuple[str, str, str], int] = {}
        self._gaps: dict[tuple[str, str, str], list[dict[str, Any]]] = {}

    def watch(self, streams: Iterable[StreamStatus], elapsed_s: float) -> None:
        """Compare the counts with those of the last call.

        Args:
            streams: Current counts.
            elapsed_s: Master time in seconds.
        """
        for stream in streams:
            for subscription in stream.subscriptions:
                key = (stream.name, subscription.module, subscription.port)
                grown = subscription.lost - self._lost.get(key, 0)
                if grown <= 0:
                    continue
                self._lost[key] = subscription.lost
                gaps = self._gaps.setdefault(key, [])
                if len(gaps) < _MAX_LISTED:
                    gaps.append({"lost": grown, "seen_at_usec": round(elapsed_s * 1e6)})

    def of(self, stream: str, subscription: SubscriptionStatus) -> dict[str, Any]:
        """Return a subscription's `gaps`: `lost` items, noticed at master time `seen_at_usec`.

        With more gaps than are listed, `lost_unlisted` counts the items in the others.
        """
        gaps = self._gaps.get((stream, subscription.module, subscription.port), [])
        rest = unlisted(subscription.lost, gaps)
        return {"gaps": gaps} | ({"lost_unlisted": rest} if rest else {})


class GapWarnings:
    """Logs losses, with their count: a line for each cause and place, and further ones ever later.

    Args:
        log: Called with (module, level, text); the module is the one that lost the items.
    """

    def __init__(self, log: Callable[[str, int, str], object]) -> None:
        self._log = log
        self._logged: dict[tuple[str, ...], int] = {}
        self._due_s: dict[tuple[str, ...], float] = {}
        self._period_s: dict[tuple[str, ...], float] = {}

    def watch(
        self, streams: Iterable[StreamStatus], now_s: float, gone: Collection[str] = ()
    ) -> None:
        """Log what was lost since the last line, where that is a second ago.

        Args:
            streams: Current counts.
            now_s: The time (time.monotonic).
            gone: Modules whose process has ended before its time.
        """
        for stream in streams:
            self._note(
                (stream.module, stream.name),
                stream.lost_at_source,
                f"of its stream {stream.name} were lost before they could be sent",
                now_s,
            )
            for each in stream.subscriptions:
                queue = f"its queue{_size(each.queue_limit)}"
                cause = "its process had ended" if each.module in gone else f"{queue} was full"
                self._note(
                    (each.module, each.port, stream.name),
                    each.refused,
                    f"of {stream.name} did not reach input '{each.port}': {cause}",
                    now_s,
                )

    def conclude(self, streams: Iterable[StreamStatus], gone: Collection[str] = ()) -> None:
        """Log all that is not logged yet, with the final counts of the run."""
        self._due_s.clear()
        streams = list(streams)
        self.watch(streams, 0.0, gone)
        for stream in streams:
            for each in stream.subscriptions:
                self._note(
                    (each.module, each.port, stream.name, "unknown"),
                    each.lost - stream.lost_at_source - each.refused,
                    f"of {stream.name} did not reach input '{each.port}': {stream.module} ended "
                    "before it reported why",
                    0.0,
                )

    def _note(self, key: tuple[str, ...], lost: int, what: str, now_s: float) -> None:
        grown = lost - self._logged.get(key, 0)
        if grown <= 0 or now_s < self._due_s.get(key, 0.0):
            return
        total = f" ({lost} in total)" if key in self._logged else ""
        self._logged[key] = lost
        before_s = self._period_s.get(key, 0.0)
        lasts = now_s < self._due_s.get(key, now_s) + before_s
        period_s = min(2 * before_s, _LONGEST_PERIOD_S) if lasts and before_s else _PERIOD_S
        self._period_s[key] = period_s
        self._due_s[key] = now_s + period_s
        self._log(key[0], logging.WARNING, f"{grown} item(s) {what}{total}")


def _size(limit: int) -> str:
    if limit == LIKELY_QUEUE:
        return " (1 MB of small items, 64 MB of those above 4 kB)"
    return f" of {limit}" if limit else ""


def losses_as_failures(streams: Iterable[StreamStatus]) -> Iterator[Failure]:
    """Return a failure for each subscription that has not got all that was sent to it.

    For runs that are strict. A tap may lose: it is no part of the bench.
    """
    for stream in streams:
        for each in stream.subscriptions:
            if each.missing and each.module != TAP_NAME:
                yield Failure(
                    each.module,
                    "account",
                    f"{each.missing} of {stream.sent} item(s) of {stream.name} are missing at "
                    f"{each.module}.{each.port}: {_causes(stream, each)}",
                    "The run is strict: nothing may be lost. Give the input a longer queue, "
                    f'{each.port} = {{ from = "{stream.name}", queue = N }}, make {each.module} '
                    f"faster or {stream.module} slower, or run without `strict`.",
                )


def _causes(stream: StreamStatus, each: SubscriptionStatus) -> str:
    counts = {
        f"lost by {stream.module} before they could be sent": stream.lost_at_source,
        "refused by its full queue": each.refused,
        "lost for a reason that was not reported": each.lost - stream.lost_at_source - each.refused,
        "not taken out of its queue": each.not_taken,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count > 0)
