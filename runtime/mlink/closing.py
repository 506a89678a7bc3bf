"""Base class of objects that own something and give it back when a `with` block ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class ClosesOnExit(ABC):
    """Context manager that returns itself on entry and calls `close()` on exit.

    An exception in the block is passed on after `close()` has returned.
    """

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Release what the object owns."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
