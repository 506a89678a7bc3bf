"""How one stream's shared memory is laid out; sender and subscribers agree on it beforehand."""

from __future__ import annotations

import msgspec


class StreamPlan(msgspec.Struct, frozen=True):
    """Layout of the shared memory of one stream."""

    data_type: str
    item_bytes: int
    """Expected size of an item with its header; larger ones get more memory."""
    max_borrowed: int
    """Items that a subscriber may hold at once."""
    queues: tuple[int, ...]
    """Length of each subscription's queue in items."""
