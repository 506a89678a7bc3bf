"""UUID version 7 (RFC 9562), which sorts by creation time. Python has it from 3.14 only."""

from __future__ import annotations

import os
import time
import uuid

_MS_MASK = (1 << 48) - 1
_RANDOM_MASK = (1 << 74) - 1


def uuid7(unix_ms: int | None = None, rest: bytes | None = None) -> uuid.UUID:
    """Return a new UUIDv7.

    Args:
        unix_ms: Creation time in ms since 1970, by default now.
        rest: 10 bytes for the remaining 74 bits, by default random ones.
    """
    if unix_ms is None:
        unix_ms = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10) if rest is None else rest, "big") & _RANDOM_MASK
    value = (unix_ms & _MS_MASK) << 80
    value |= 0x7 << 76
    value |= (random >> 62) << 64
    value |= 0b10 << 62
    value |= random & ((1 << 62) - 1)
    return uuid.UUID(int=value)
