"""The serial port of a virtual board: a pseudo-terminal with a link to it."""

from __future__ import annotations

import os
import tty
from pathlib import Path
from typing import Self

from mlink.errors import DeviceError


class NoPort:
    """What a chip without a serial port has in its place: power, on and off."""

    fd = -1
    lost = 0

    def __init__(self) -> None:
        self.powered = True

    def plug(self) -> None:
        """Give it power."""
        self.powered = True

    def unplug(self) -> None:
        """Take its power."""
        self.powered = False

    def read(self, limit: int) -> bytes:
        """Return what a client sent: nothing."""
        del limit
        return b""

    def write(self, data: bytes) -> None:
        """Let what it sends go nowhere."""


class PtyPort:
    """A pty in raw mode at `link`; the slave is held open, so that clients may come and go."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.lost = 0
        """Bytes that nobody fetched."""
        self._master = -1
        self._slave = -1

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    @property
    def fd(self) -> int:
        """The board's end; −1 while unplugged."""
        return self._master

    @property
    def powered(self) -> bool:
        """Whether the cable, and so the power, is there."""
        return self._master >= 0

    def plug(self) -> None:
        """Make the pty and its link; DeviceError when the link cannot be made."""
        if self._master >= 0:
            return
        self._master, self._slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            tty.setraw(self._slave)
            if self.link.is_symlink():  # of a program that was killed
                self.link.unlink()
            self.link.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            self._close_fds()
            raise DeviceError(
                f"the virtual serial port {self.link} cannot be made: {error.strerror}",
                remedy="Name a path in an existing folder that you may write to.",
            ) from error

    def unplug(self) -> None:
        """Close the pty and remove the link, as a pulled cable does; clients see a hang-up."""
        if self._master < 0:
            return
        if self.link.is_symlink() and str(self.link.readlink()) == os.ttyname(self._slave):
            self.link.unlink(missing_ok=True)
        self._close_fds()

    def _close_fds(self) -> None:
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def read(self, limit: int) -> bytes:
        """Return what the client sent, at most `limit` bytes; empty when there is nothing."""
        try:
            return os.read(self._master, limit)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send to the client; what does not fit is lost, as on a port that nobody reads."""
        if self._master < 0:
            return
        try:
            sent = os.write(self._master, data)
        except BlockingIOError:
            sent = 0
        self.lost += len(data) - sent
