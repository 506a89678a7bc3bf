"""A module's doorbell: an eventfd that its sources ring when they have sent it something."""

from __future__ import annotations

import os


class Doorbell:
    """Owns one eventfd; any process that holds the descriptor may ring it."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if fd is None else fd

    def fileno(self) -> int:
        """Return the descriptor, to wait on: readable when rung."""
        return self.fd

    def ring(self) -> None:
        """Wake the owner; never waits."""
        try:
            os.eventfd_write(self.fd, 1)
        except BlockingIOError:  # the counter is at its maximum: it rings already
            pass

    def clear(self) -> None:
        """Take note of all rings so far."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
