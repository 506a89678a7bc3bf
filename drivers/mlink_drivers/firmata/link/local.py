"""Transport to a simulated board in virtual time: a Unix stream socket of this machine.

Bytes that were written are there at once, which a pseudo-terminal does not promise; so the order of
a run in virtual time does not depend on the kernel's work queues.
"""

from __future__ import annotations

import socket
from pathlib import Path

from mlink.errors import DeviceError
from mlink.peers import is_trusted
from mlink_drivers.firmata.link.latency import device_folder, lower_latency, read_latency
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE, SerialTransport

SCHEME = "unix"


def shown(address: str) -> str:
    """Return an address for logs and events.

    A simulated board's is shown without its folder, the run's own, which differs in each run.
    """
    scheme, separator, path = address.partition("://")
    return f"{SCHEME}:{Path(path).name}" if separator and scheme == SCHEME else address


class LocalTransport(SerialTransport):
    """A line whose rate is kept by the simulation; the address is unix://PATH."""

    can_change_baud_rate = True

    def __init__(self, address: str, baud_rate: int = DEFAULT_BAUD_RATE) -> None:
        self._path = address.removeprefix(f"{SCHEME}://")
        super().__init__(shown(address), baud_rate)

    @property
    def adapter_latency_usec(self) -> int:
        """Latency of the simulated adapter; 0 without one."""
        return read_latency(self._path).usec if self._has_adapter else 0

    @property
    def _has_adapter(self) -> bool:
        return device_folder(Path(self._path)).is_dir()

    def set_baud_rate(self, baud_rate: int) -> None:
        """Note the rate; the simulation keeps the one that the firmware sets."""
        self.baud_rate = baud_rate

    def open(self) -> None:
        """Connect to the simulated board.

        Raises:
            DeviceError: No board listens there.
        """
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(self._path)
        except OSError as error:
            line.close()
            raise DeviceError(
                f"no simulated board at {self.address}: {error.strerror}",
                remedy="Start it with a run: mlink run BENCH --time virtual.",
            ) from error
        if not is_trusted(line):
            line.close()
            raise DeviceError(
                f"the program that listens at {self.address} belongs to another user",
                remedy="Use a board of your own run: mlink run BENCH --time virtual.",
            )
        line.setblocking(False)
        self._port, self._fd = line, line.fileno()
        self.latency_report = f"{self.address}: simulated in virtual time, without an adapter"
        if self._has_adapter:
            self.latency_report = lower_latency(self._path, name=self.address).report
