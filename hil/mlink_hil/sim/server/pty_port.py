"""The serial port of a simulated board: a pseudo-terminal with a link to it.

The port is also the board's power: a board is unplugged by closing the pseudo-terminal.
"""

from __future__ import annotations

import os
import tty
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from mlink.errors import DeviceError
from mlink_hil.control.lockstep import NOT_KNOWN
from mlink_hil.sim.server.adapter import Adapter


class Port(ABC):
    """The serial port of a board, which is also its power; plugged in for the length of a block."""

    lost: int = 0
    """Bytes dropped because no client read them, or the cable was pulled."""
    reader: int = NOT_KNOWN
    """Process ID of the client, where it is known."""

    @property
    @abstractmethod
    def fd(self) -> int:
        """Descriptor to poll for bytes of the client; −1 without one."""

    @property
    @abstractmethod
    def powered(self) -> bool:
        """Whether the cable is plugged in."""

    @abstractmethod
    def plug(self) -> None:
        """Plug the cable in; does nothing while it is plugged in.

        Raises:
            DeviceError: The port cannot be created.
        """

    @abstractmethod
    def unplug(self) -> None:
        """Pull the cable: clients see a hang-up. Does nothing while unplugged."""

    @abstractmethod
    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes that the client sent; empty when there are none."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send to the client; drop what does not fit, and count it in `lost`."""

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()


class NoPort(Port):
    """Stands in for the port of a chip that has none: only its power can be switched."""

    fd = -1
    powered = True

    def plug(self) -> None:
        """Switch its power on."""
        self.powered = True

    def unplug(self) -> None:
        """Switch its power off."""
        self.powered = False

    def read(self, limit: int) -> bytes:
        """Return no bytes: there is no client."""
        del limit
        return b""

    def write(self, data: bytes) -> None:
        """Discard what the chip sends."""


class PtyPort(Port):
    """A pty in raw mode whose slave is linked at `link`; a context manager.

    The slave stays open here, so that clients may close and reopen it.

    Args:
        link: Path of the link.
        adapter: What is between board and port, which appears and vanishes with it.

    Raises:
        DeviceError: On entry, when the link cannot be created.
    """

    def __init__(self, link: Path, adapter: Adapter) -> None:
        self.link = link
        self._adapter = adapter
        self._master = -1
        self._slave = -1

    @property
    def fd(self) -> int:
        """Descriptor of the board's end; −1 while unplugged.

        The program polls it for bytes of the client.
        """
        return self._master

    @property
    def powered(self) -> bool:
        """Whether the cable is plugged in."""
        return self._master >= 0

    def plug(self) -> None:
        """Create the pty and its link; does nothing while it is plugged in.

        Raises:
            DeviceError: The link cannot be created.
        """
        if self._master >= 0:
            return
        self._master, self._slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            tty.setraw(self._slave)
            os.fchmod(self._slave, 0o600)  # the group tty may write to a terminal
            self._adapter.plug(self.link)
            if self.link.is_symlink():  # left behind by a program that was killed
                self.link.unlink()
            self.link.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            self._close_fds()
            raise DeviceError(
                f"cannot create the serial port {self.link}: {error.strerror}",
                remedy="Name a path in an existing folder that you may write to.",
            ) from error

    def unplug(self) -> None:
        """Close the pty and remove the link; clients see a hang-up, as from a pulled cable.

        The link is left alone when another program has replaced it. Does nothing while unplugged.
        """
        if self._master < 0:
            return
        if self.link.is_symlink() and str(self.link.readlink()) == os.ttyname(self._slave):
            self.link.unlink(missing_ok=True)
        self._close_fds()
        self.lost += self._adapter.unplug()

    def _close_fds(self) -> None:
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes that the client sent; empty when there are none.

        Call it only while the port is plugged in.
        """
        try:
            return os.read(self._master, limit)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send to the client; drop what does not fit, as a port whose client does not read.

        `lost` counts the dropped bytes. Does nothing while unplugged.
        """
        if self._master < 0:
            return
        try:
            sent = os.write(self._master, data)
        except BlockingIOError:
            sent = 0
        self.lost += len(data) - sent
