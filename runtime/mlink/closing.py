"""What ends with its owner: an object with its `with` block, a program with its parent."""

from __future__ import annotations

import contextlib
import ctypes
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


def signal_at_parents_end(number: int) -> None:
    """Let the kernel send this process a signal when the *thread* that has started it ends.

    A parent that ended before the call is not noticed: compare `os.getppid()` afterwards.
    prctl(2), PR_SET_PDEATHSIG.

    Args:
        number: The signal.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, number, 0, 0, 0)
