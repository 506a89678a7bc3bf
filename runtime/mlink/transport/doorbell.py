"""A module's doorbell: an eventfd that wakes it when an item is in shared memory for it.

All streams of arrays that a module subscribes to ring the same one.
"""

from __future__ import annotations

import os


class Doorbell:
    """Owns one eventfd; each process that has the descriptor may ring it.

    Args:
        fd: The descriptor, to be owned; None creates one.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if fd is None else fd

    def fileno(self) -> int:
        """Return the descriptor to poll: readable when it was rung."""
        return self.fd

    def ring(self) -> None:
        """Wake the module. Never waits."""
        try:
            os.eventfd_write(self.fd, 1)
        except BlockingIOError:  # the counter is at its maximum, so it is readable
            pass

    def clear(self) -> None:
        """Clear all rings so far, so that the descriptor is not readable."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close the descriptor; calling it again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
