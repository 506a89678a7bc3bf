"""A board that runs MicroPython: its serial line, its raw REPL, and what its program writes.

The raw REPL (https://docs.micropython.org/en/latest/reference/repl.html) takes a program after
Ctrl-A and runs it after Ctrl-D. It answers OK, then what the program prints, a byte 4, the
traceback of an exception, and another byte 4.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from typing import Any, Final

import serial

from mlink.errors import DeviceError
from mlink_drivers.micropython.messages import LONGEST_LINE

_INTERRUPT, _RAW, _FRIENDLY, _RUN = b"\r\x03\x03", b"\r\x01", b"\r\x02", b"\x04"
_RAW_PROMPT: Final = b"raw REPL; CTRL-B to exit\r\n>"
_AGAIN_S: Final = 1.0
_PATIENCE_S: Final = 15.0
"""How long a board may take until it is in its raw REPL; a reset takes some 2 s."""
_CHUNK: Final = 128
_PAUSE_S: Final = 0.01
"""Pause after so many bytes of the program: buffers of boards are small."""
_WRITE_S: Final = 2.0


class Board:
    """The serial line of a board; open until `close`.

    Args:
        address: A serial port or pseudo-terminal.
        baud_rate: Bits per second.

    Raises:
        DeviceError: It cannot be opened.
    """

    def __init__(self, address: str, baud_rate: int) -> None:
        self.address = address
        self._line: Any = None
        try:
            self._line = serial.Serial(address, baud_rate, timeout=0, exclusive=True)
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"{address} cannot be opened: {error}",
                remedy="Look at `mlink devices`, and end other programs that use it.",
            ) from error
        os.set_blocking(self._line.fileno(), False)

    def fileno(self) -> int:
        """Descriptor to poll for input."""
        number: int = self._line.fileno()
        return number

    def read(self) -> bytes:
        """Return what has arrived; b"" if nothing has.

        Raises:
            DeviceError: The board has gone.
        """
        try:
            found = os.read(self.fileno(), 65_536)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(_reason(error)) from error
        if not found:
            raise self._lost("end of file")
        return found

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            DeviceError: The board has gone, or accepts nothing for 2 s.
        """
        end_s = time.monotonic() + _WRITE_S
        while data:
            try:
                data = data[os.write(self.fileno(), data) :]
            except BlockingIOError:
                left_s = end_s - time.monotonic()
                if left_s <= 0 or not select.select([], [self.fileno()], [], left_s)[1]:
                    raise self._lost(f"it accepts nothing for {_WRITE_S:g} s") from None
            except OSError as error:
                raise self._lost(_reason(error)) from error

    def load(self, program: bytes) -> None:
        """Reset the board and send it a program, which waits for `run`.

        Raises:
            DeviceError: It does not come to its raw REPL.
        """
        self._await_raw(_INTERRUPT + _RAW)
        self._await_raw(_RUN)  # without a program: a reset, without main.py
        for start in range(0, len(program), _CHUNK):
            self.write(program[start : start + _CHUNK])
            time.sleep(_PAUSE_S)

    def run(self) -> None:
        """Run the program that was sent."""
        self.write(_RUN)

    def interrupt(self) -> None:
        """End the program, as far as the line is there."""
        with contextlib.suppress(DeviceError):
            self.write(_INTERRUPT + _FRIENDLY)

    def close(self) -> None:
        """Close the line."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()

    def _await_raw(self, request: bytes) -> None:
        """Send a request until the prompt of the raw REPL comes."""
        received = b""
        end_s = time.monotonic() + _PATIENCE_S
        while (now_s := time.monotonic()) < end_s:
            self.write(request)
            request = _INTERRUPT + _RAW
            until_s = min(end_s, now_s + _AGAIN_S)
            while (left_s := until_s - time.monotonic()) > 0:
                if select.select([self.fileno()], [], [], left_s)[0]:
                    received = (received + self.read())[-4096:]
                if received.endswith(_RAW_PROMPT):
                    return
        shown = received[-80:].decode("utf-8", "replace")
        raise DeviceError(
            f"no MicroPython answers at {self.address} (received: {shown!r})",
            remedy="Install MicroPython on the board, and look whether this is its port.",
        )

    def _lost(self, reason: str) -> DeviceError:
        return DeviceError(
            f"the board at {self.address} is lost: {reason}",
            remedy="Check the cable and the board's power, then start again.",
        )


def _reason(error: OSError) -> str:
    return "I/O error" if error.errno == errno.EIO else str(error)


class Output:
    """Splits what a running program writes into lines; the end of the program is one, too."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self.ended = False
        """Whether the program has ended."""
        self.traceback = ""
        """Traceback of the exception that ended it; complete when `complete` is true."""
        self.complete = False
        self.too_long = 0
        """Lines that were too long: left out."""
        self._skips = False

    def take(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without their ends."""
        self._rest += data
        if not self._begun:
            _, found, after = self._rest.partition(b"OK")  # a prompt may come before it
            self._begun, self._rest = bool(found), after if found else self._rest[-1:]
        if not self._begun or self.complete:
            return []
        if self.ended:
            return self._take_traceback()
        text, end, after = self._rest.partition(b"\x04")
        *lines, self._rest = text.split(b"\n")
        if end:
            lines += [self._rest] if self._rest else []
            self.ended, self._rest = True, after
            self._take_traceback()
        elif len(self._rest) > LONGEST_LINE:
            self.too_long += not self._skips
            self._rest, self._skips = b"", True
        if self._skips and lines:
            del lines[0]  # the end of the one that was too long
            self._skips = False
        kept = [line.rstrip(b"\r") for line in lines if len(line) <= LONGEST_LINE]
        self.too_long += len(lines) - len(kept)
        return kept

    def _take_traceback(self) -> list[bytes]:
        text, end, _ = self._rest.partition(b"\x04")
        if end or len(text) > LONGEST_LINE:
            self.traceback = text[:LONGEST_LINE].decode("utf-8", "replace").strip()
            self.complete, self._rest = True, b""
        return []
