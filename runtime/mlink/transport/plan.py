"""Layout of a stream's shared memory.

The engine decides it before the start; publisher and subscribers have to use the same values.
"""

from __future__ import annotations

import msgspec


class StreamPlan(msgspec.Struct, frozen=True):
    """Layout of the shared memory of one stream."""

    service: str
    """Name of the stream in the run."""
    data_type: str
    """Name of the `DataType` of its items."""
    queue_items: int
    """Longest queue of any subscriber."""
    item_bytes: int
    """Expected size of an item with its header; a larger one makes the memory grow."""
    max_borrowed: int
    """Items that each subscriber may hold at once."""
    subscribers: int
