"""Lists when streams lost items, from the counts that workers send while the run lasts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlink.engine.status import StreamStatus

_MAX_LISTED = 200
"""Most gaps listed for one subscription; its total count is not limited."""


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

    def of(self, stream: str, module: str, port: str) -> list[dict[str, Any]]:
        """Return a subscription's gaps: `lost` items, noticed at master time `seen_at_usec`."""
        return self._gaps.get((stream, module, port), [])
