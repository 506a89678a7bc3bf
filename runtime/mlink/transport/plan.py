"""How one stream's shared memory is laid out; publisher and subscribers agree on it beforehand."""

from __future__ import annotations

import msgspec


class StreamPlan(msgspec.Struct, frozen=True):
    """Layout of one stream's shared memory."""

    service: str
    data_type: str
    queue_items: int
    """Longest queue of any subscriber."""
    item_bytes: int
    """Expected size of an item with its header; larger ones make the memory grow."""
    max_borrowed: int
    subscribers: int
