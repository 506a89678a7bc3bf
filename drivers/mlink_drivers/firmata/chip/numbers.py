"""Finds blocks that the line has lost, and what the board counts. Values only; not thread-safe."""

from __future__ import annotations

from typing import Final

from mlink_drivers.firmata.chip.messages import SEQUENCES


class BlockNumbers:
    """The numbers of the blocks of one kind.

    Without check values a number may be wrong. There a gap counts when the next block confirms it,
    or `settle` does; a number that its neighbours do not confirm was changed on the line.

    Args:
        version: Version of the extension; from 2 on messages have a check value.
    """

    def __init__(self, version: int = 1) -> None:
        self._count = SEQUENCES[version]
        self._checked = version > 1
        self._certain: int | None = None
        """The last number that is certain, or the first one."""
        self._confirmed = self._checked
        self._since = 0
        """Blocks that have arrived since."""
        self._newest = 0
        self._quiet = False

    def take(self, number: int) -> int:
        """Handle the number of a block; return how many are known now to be missing before it."""
        follows = number == (self._newest + 1) % self._count
        self._newest, self._quiet = number, False
        if self._certain is None:
            self._certain = number
            return 0
        missing = (number - self._certain - self._since - 1) % self._count
        if missing and not self._checked and not follows:
            self._since += 1
            return 0
        return self._resolve(missing)

    def expect(self, number: int) -> int:
        """Return how many blocks are missing; `number` is that of the next one, from a status."""
        last = (number - 1) % self._count
        missing = 0 if self._certain is None else (last - self._certain) % self._count
        self._certain = self._newest = last
        return missing

    def settle(self) -> int:
        """Return how many blocks are missing by a gap that no block has confirmed for long.

        Call it at intervals: a gap counts at the second call without a block between them.
        """
        if self._certain is None or not self._since:
            return 0
        if not self._quiet:
            self._quiet = True
            return 0
        self._confirmed = False  # by itself: no other number supports it
        return self._resolve((self._newest - self._certain - self._since) % self._count)

    def _resolve(self, missing: int) -> int:
        self._certain, self._since = self._newest, 0
        if not self._confirmed and missing >= self._count // 2:
            missing = 0  # rather a wrong number
        self._confirmed = True
        return missing


_COUNT: Final = 1 << 16
"""The board's counts wrap at this value."""


class BoardCount:
    """A count of the board, from its messages.

    Without check values a new count counts when the next message confirms it.
    """

    def __init__(self) -> None:
        self._known: int | None = None
        self._doubted: int | None = None

    @property
    def is_doubted(self) -> bool:
        """Whether the last message had a new count that is not confirmed."""
        return self._doubted not in (None, self._known)

    def take(self, total: int, *, checked: bool) -> int:
        """Return how many are known to be new; none of those before the first message.

        Args:
            total: The count.
            checked: Whether the message had a check value.
        """
        total %= _COUNT
        before, self._doubted = self._doubted, total
        if self._known is None:
            if checked or total == before:
                self._known = total
            return 0
        known = self._known
        if checked:
            self._known = total
            return (total - known) % _COUNT if _rises(known, total) else 0
        if before is None or not _rises(known, before) or not _rises(before, total):
            return 0
        self._known = before
        return (before - known) % _COUNT


def _rises(before: int, after: int) -> bool:
    return (after - before) % _COUNT < _COUNT // 2
