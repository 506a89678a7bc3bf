"""When a stream lost items: seen from the counts that the engine gathers while the run lasts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlink.engine.status import StreamStatus

_MAX_LISTED = 200
"""Gaps listed for one subscription; the sums go on."""


class GapLog:
    """Notes each growth of a subscription's losses, to the period of the counts (about 0.25 s)."""

    def __init__(self) -> None:
        self._lost: dict[tuple[str, str, str], int] = {}
        self._gaps: dict[tuple[str, str, str], list[dict[str, Any]]] = {}

    def watch(self, streams: Iterable[StreamStatus], elapsed_s: float) -> None:
        """Compare the counts with the last ones."""
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
        """Return a subscription's gaps: how many items, and when it was seen (µs)."""
        return self._gaps.get((stream, module, port), [])
