"""What I2C devices have answered to mlink's firmware, in a run: rows, faults in words, counts."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from mlink_drivers.firmata.chip.i2c import I2CAnswer
from mlink_drivers.firmata.lines.rows import ReplyRows

_REMEDY: Final = (
    "Check the device's address, its wires to SDA and SCL, its supply and the pull-up resistors;"
    " `i2c` in `mlink board` lists the devices that answer"
)


class I2CAnswers:
    """Rows of the table `replies`; a fault is a warning once, then counted.

    Args:
        rows: The table.
        name: The board's name in messages.
        log: Receives the warnings.
    """

    def __init__(self, rows: ReplyRows, name: str, log: logging.Logger) -> None:
        self._rows = rows
        self._name = name
        self._log = log
        self._faults: Counter[tuple[int, str]] = Counter()
        """How often each fault occurred, by address."""

    @property
    def faults(self) -> int:
        """Transfers that failed."""
        return self._faults.total()

    def take(self, answer: I2CAnswer) -> None:
        """Add a row for a read or a fault; a write that went well has none."""
        fault = answer.fault
        if fault:
            self._note(answer.address, fault)
        if fault or answer.is_read:
            at = self._rows.time_usec(answer.time_ns)
            self._rows.add_i2c(at, answer.address, answer.register, answer.data, fault)

    def take_scan(self, time_ns: int, found: list[int], fault: str) -> None:
        """Add a row with the addresses that a scan has found, in hexadecimal."""
        at = self._rows.time_usec(time_ns)
        if fault:
            self._note(0, fault)
            self._rows.add(at, "i2c-error", "", "", fault)
        else:
            self._rows.add(at, "i2c-scan", "", "", bytes(found).hex(" "))

    def report(self) -> None:
        """Log how often the faults occurred that were logged once."""
        for (address, fault), count in self._faults.items():
            if count > 1:
                self._log.warning("%s: I2C %s: %s %d times", self._name, _at(address), fault, count)

    def _note(self, address: int, fault: str) -> None:
        self._faults[address, fault] += 1
        if self._faults[address, fault] == 1:
            self._log.warning("%s: I2C %s: %s. %s", self._name, _at(address), fault, _REMEDY)


def _at(address: int) -> str:
    return f"address {address:#04x}" if address else "scan"
