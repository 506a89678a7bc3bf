"""Messages per second and CPU per message of our codec, beside pyFirmata2's parser.

Both get the same bytes in the same process: over one pseudo-terminal, as in life, and from memory,
where pyFirmata2 is spared its two system calls per byte and only the parsers are compared.
Run: python tests/benchmarks/bench_codec.py
"""

from __future__ import annotations

import os
import select
import time
import tty
from collections.abc import Callable

import pyfirmata2
import serial

from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.wire.arrival import ArrivalTimes
from mlink_drivers.firmata.wire.decode import Decoder

MESSAGES = 60_000
ROUNDS = 3
STREAMS = {
    "analog": bytes((0xE0, 0x05, 0x03)),
    "digital": bytes((0x90, 0x04, 0x00)),
    "analog and digital": bytes((0xE0, 0x05, 0x03, 0x91, 0x04, 0x00)),
}


class MemoryPort:
    """What pyFirmata2 takes for its serial port."""

    port = "memory"

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def inWaiting(self) -> int:
        return len(self._data) - self._at

    def read(self) -> bytes:
        self._at += 1
        return self._data[self._at - 1 : self._at]

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def library_board(port: object) -> pyfirmata2.Board:
    board = pyfirmata2.Board.__new__(pyfirmata2.Board)
    board.sp, board.samplerThread, board.name = port, None, "bench"
    board.setup_layout(pyfirmata2.BOARDS["arduino"])
    return board


def library_cpu_s(data: bytes) -> float:
    board = library_board(MemoryPort(data))
    for pin in board.analog:
        pin.reporting = True
    began = time.process_time()
    while board.bytes_available():
        board.iterate()
    return time.process_time() - began


def codec_cpu_s(data: bytes, chunk_size: int) -> float:
    decoder = Decoder()
    chunks = [data[at : at + chunk_size] for at in range(0, len(data), chunk_size)]
    count = 0
    began = time.process_time()
    for chunk in chunks:
        count += len(decoder.feed(chunk))
    taken_s = time.process_time() - began
    assert count == MESSAGES
    return taken_s


def timed_codec_cpu_s(data: bytes, chunk_size: int) -> float:
    """The session's whole path: each message placed in time."""
    decoder, times = Decoder(), ArrivalTimes(57600)
    chunks = [data[at : at + chunk_size] for at in range(0, len(data), chunk_size)]
    began = time.process_time()
    for chunk in chunks:
        times.note_burst(time.monotonic_ns(), len(chunk))
        for message in decoder.feed(chunk):
            times.first_byte_ns(message.offset)
    return time.process_time() - began


class PtyLine:
    """A pseudo-terminal that is filled in lumps its buffer holds, between measurements."""

    LUMP_MESSAGES = 1000

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)

    def cpu_s(self, data: bytes, read_lump: Callable[[], None]) -> float:
        """CPU time of `read_lump` called for every lump of `data`."""
        taken_s = 0.0
        for at in range(0, len(data), 3 * self.LUMP_MESSAGES):
            os.write(self.master, data[at : at + 3 * self.LUMP_MESSAGES])
            began = time.process_time()
            read_lump()
            taken_s += time.process_time() - began
        return taken_s


def library_pty_cpu_s(data: bytes) -> float:
    line = PtyLine()
    board = library_board(serial.Serial(line.path, 57600))
    counted = [0]
    for command in (0xE0, 0x90):
        board.add_cmd_handler(command, _counting(counted))

    def read_lump() -> None:
        goal = counted[0] + line.LUMP_MESSAGES
        while counted[0] < goal:
            while board.bytes_available():
                board.iterate()

    taken_s = line.cpu_s(data, read_lump)
    board.sp.close()
    line.close()
    return taken_s


def _counting(counted: list[int]) -> Callable[..., None]:
    def handler(self: object, channel: int, low: int, high: int) -> None:
        counted[0] += 1

    return handler.__get__(counted)


def codec_pty_cpu_s(data: bytes) -> float:
    line = PtyLine()
    transport = open_transport(line.path)
    transport.open()
    poller = select.poll()
    poller.register(transport.fileno(), select.POLLIN)
    decoder = Decoder()

    def read_lump() -> None:
        missing = line.LUMP_MESSAGES
        while missing:
            poller.poll()
            missing -= len(decoder.feed(transport.read()))

    taken_s = line.cpu_s(data, read_lump)
    transport.close()
    line.close()
    return taken_s


def best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(ROUNDS))


def measure() -> list[tuple[str, str, float]]:
    """Rows of stream, parser, CPU seconds."""
    rows = []
    for name, unit in STREAMS.items():
        data = unit * (MESSAGES * 3 // len(unit))
        cpu_s = best(lambda data=data: library_pty_cpu_s(data))
        rows.append((name, "pyFirmata2 on a pty", cpu_s))
        rows.append((name, "mlink on a pty", best(lambda data=data: codec_pty_cpu_s(data))))
        cpu_s = best(lambda data=data: library_cpu_s(data))
        rows.append((name, "pyFirmata2 in memory", cpu_s))
        for size in (3, 64, 4096):
            cpu_s = best(lambda data=data, size=size: codec_cpu_s(data, size))
            rows.append((name, f"mlink, {size}-byte chunks", cpu_s))
        cpu_s = best(lambda data=data: timed_codec_cpu_s(data, 64))
        rows.append((name, "mlink, 64 bytes, with times", cpu_s))
    return rows


def main() -> None:
    print(f"{'stream':<20}{'parser':<28}{'messages/s':>14}{'CPU each':>12}{'ratio':>9}")
    base_s = 1.0
    for stream, parser, cpu_s in measure():
        if parser.startswith("pyFirmata2"):
            base_s = cpu_s
        rate, each_usec = MESSAGES / cpu_s, cpu_s / MESSAGES * 1e6
        ratio = f"{base_s / cpu_s:.1f} ×"
        print(f"{stream:<20}{parser:<28}{rate:>14,.0f}{each_usec:>9.2f} µs{ratio:>9}")


if __name__ == "__main__":
    main()
