"""Transfers on the I2C bus by mlink's firmware, which answers each with what the bus did.

Sends orders and matches answers with them; the bytes are in encode.py and decode.py.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from mlink.errors import DeviceError
from mlink.waiting import Registration
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.messages import Feature, I2CResult, I2CStatus
from mlink_drivers.firmata.chip.session import ChipSession
from mlink_drivers.firmata.extra import I2CTransfer
from mlink_drivers.firmata.wire.protocol import I2CMode

MOST_BYTES: Final = 32
MOST_REPEATED: Final = 8
ADDRESSES: Final = range(0x08, 0x78)
"""Addresses of devices; others have a meaning of their own on an I2C bus."""
_TAGS: Final = 0x7F
_SCAN_S: Final = 5.0
"""Longest duration of a scan: 112 answers, each of which takes 6 ms at most."""
_FAULTS: Final = {
    I2CStatus.NO_DEVICE: "no device answers",
    I2CStatus.REFUSED: "the device refused a byte",
    I2CStatus.SDA_LOW: "the bus is blocked: SDA is held low",
    I2CStatus.SCL_LOW: "the bus is blocked: SCL is held low",
    I2CStatus.BUS_ERROR: "the transfer was disturbed on the bus",
}
NO_ANSWER: Final = "the board did not answer"


class I2CAnswer(msgspec.Struct, frozen=True):
    """What came of a transfer: the bytes that were read, or a fault in words.

    `time_ns` is when it began, by the chip's clock if that is known (ns of CLOCK_MONOTONIC).
    """

    time_ns: int
    address: int
    register: int
    data: bytes = b""
    fault: str = ""
    is_read: bool = True


class ChipI2C:
    """Orders to the chip's I2C; with another firmware `available` is False.

    Orders come from the module's main thread, answers from the reader's.

    Args:
        session: The session with the chip.
        send: Sends encoded messages to the board; may raise DeviceError when it is lost.
        on_answer: Called with what came of each transfer.
        on_scan: Called with time, addresses that answered, and a fault in words or "".
    """

    def __init__(
        self,
        session: ChipSession,
        send: Callable[[bytes], None],
        *,
        on_answer: Callable[[I2CAnswer], None],
        on_scan: Callable[[int, list[int], str], None],
    ) -> None:
        self._session = session
        self._send = send
        self._on_answer = on_answer
        self._on_scan = on_scan
        self._lock = threading.Lock()
        self._tag = 0
        self._repeated: dict[int, I2CTransfer] = {}
        """By tag."""
        self._due: deque[tuple[int, I2CTransfer]] = deque()
        """Tags and orders of single transfers whose answers are due, in their order."""
        self._scan: _Scan | None = None

    @property
    def available(self) -> bool:
        """Whether the firmware has these transfers."""
        return self._session.has(Feature.I2C)

    def transfer(self, order: I2CTransfer) -> bytes:
        """Return the message for an order to write, to read, or to end repeated reads.

        Raises:
            DeviceError: It does not fit into the chip's memory.
        """
        if len(order.data) > MOST_BYTES or order.count > MOST_BYTES:
            raise DeviceError(
                f"a transfer with the I2C device {order.address:#04x} has more than {MOST_BYTES}"
                " bytes",
                remedy="Make several transfers of it.",
            )
        with self._lock:
            same = [tag for tag, known in self._repeated.items() if _replaces(order, known)]
            for tag in same:
                del self._repeated[tag]
            ended = b"".join(map(chip_encode.i2c_end, same))
            if order.mode is I2CMode.STOP_READING:
                return ended
            return ended + self._message(order)

    def scan(self) -> None:
        """Address each device once; `on_scan` is called when all have answered.

        Raises:
            DeviceError: The board is lost.
        """
        with self._lock:
            if self._scan is not None:
                return  # its result is that of this order too
            scan = self._scan = _Scan()
        waiting = self._session.waiting
        end_ns = waiting.now_ns() + round(_SCAN_S * 1e9)
        scan.limit = waiting.at(end_ns, lambda: self._end_scan(scan, NO_ANSWER))
        self._scan_next(scan)

    def take(self, result: I2CResult) -> None:
        """Report what came of a transfer; answers to no known order are ignored.

        The chip makes single transfers in their order, so those before one have no answer any more.
        """
        time_ns = self._session.waiting.now_ns()
        if self._session.keeps_time:
            time_ns = self._session.time_ns(result.ticks)
        with self._lock:
            scan = self._scan
            if scan is not None and result.tag == scan.tag:
                if result.status is I2CStatus.DONE:
                    scan.found.append(scan.address)
            else:
                scan = None
            order, lost = self._repeated.get(result.tag), []
            if scan is None and order is None and any(tag == result.tag for tag, _ in self._due):
                while (due := self._due.popleft())[0] != result.tag:
                    lost.append(due[1])
                order = due[1]
        self._report_lost(lost)
        if scan is not None:
            blocked = result.status not in (I2CStatus.DONE, I2CStatus.NO_DEVICE)
            if blocked or scan.address == ADDRESSES[-1]:
                self._end_scan(scan, _FAULTS[result.status] if blocked else "")
                return
            try:
                self._scan_next(scan)
            except DeviceError:
                return  # the board is lost: its session reports that
        elif order is not None:
            self._on_answer(
                I2CAnswer(
                    time_ns,
                    order.address,
                    order.register or 0,
                    result.data,
                    _FAULTS.get(result.status, ""),
                    order.mode is not I2CMode.WRITE,
                )
            )

    def replay(self) -> bytes:
        """Return the orders of the repeated reads for a restarted board; others have failed."""
        self.give_up()
        with self._lock:
            orders = list(self._repeated.values())
            self._repeated.clear()
            return b"".join(map(self._message, orders))

    def give_up(self) -> None:
        """Report the single transfers that have no answer yet as failed."""
        with self._lock:
            lost = [order for _, order in self._due]
            self._due.clear()
        self._report_lost(lost)

    def _report_lost(self, orders: list[I2CTransfer]) -> None:
        now_ns = self._session.waiting.now_ns()
        for order in orders:
            self._on_answer(I2CAnswer(now_ns, order.address, order.register or 0, fault=NO_ANSWER))

    def _message(self, order: I2CTransfer) -> bytes:
        repeats = order.mode is I2CMode.READ_CONTINUOUSLY
        kept = len(self._repeated)
        if repeats and kept >= MOST_REPEATED:
            raise DeviceError(
                f"{kept} I2C reads are repeated already, and {MOST_REPEATED} at most can be",
                remedy="End some of them, or read the others once each time.",
            )
        tag = self._next_tag()
        if repeats:
            self._repeated[tag] = order
        else:
            self._due.append((tag, order))
        return chip_encode.i2c_transfer(
            tag,
            order.address,
            order.data if order.mode is I2CMode.WRITE else order.register_data,
            order.count,
            stop_between=order.repeated_start is False,
            repeat=repeats,
        )

    def _next_tag(self) -> int:
        """Return a tag that no repeated read and no scan has; those of single orders come again."""
        scanned = self._scan.tag if self._scan is not None else -1
        while True:
            self._tag = (self._tag + 1) % _TAGS
            if self._tag not in self._repeated and self._tag != scanned:
                return self._tag

    def _scan_next(self, scan: _Scan) -> None:
        with self._lock:
            scan.address = ADDRESSES[0] if not scan.address else scan.address + 1
            scan.tag = self._next_tag()
        self._send(chip_encode.i2c_transfer(scan.tag, scan.address))

    def _end_scan(self, scan: _Scan, fault: str) -> None:
        with self._lock:
            if self._scan is not scan:
                return  # it has ended
            self._scan = None
        if scan.limit is not None:
            scan.limit.cancel()
        self._on_scan(self._session.waiting.now_ns(), scan.found, fault)


class _Scan:
    """Devices that have answered so far, and the address that is being tried."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.address = 0
        self.tag = -1
        self.limit: Registration | None = None


def _replaces(order: I2CTransfer, known: I2CTransfer) -> bool:
    """Whether an order ends a repeated read: it stops it, or repeats the same one."""
    if known.mode is not I2CMode.READ_CONTINUOUSLY or known.address != order.address:
        return False
    if order.mode is I2CMode.STOP_READING and order.register is None:
        return True
    repeats_or_stops = order.mode in (I2CMode.STOP_READING, I2CMode.READ_CONTINUOUSLY)
    return repeats_or_stops and known.register == order.register
