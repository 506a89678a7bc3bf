"""Messages per second and CPU per message of our codec, beside pyFirmata2's parser.

Both get the same bytes in the same process. pyFirmata2 reads them from an object in memory, so
its two system calls per byte are not even counted. Run: python tests/benchmarks/bench_codec.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pyfirmata2

from mlink_drivers.firmata.arrival import ArrivalTimes
from mlink_drivers.firmata.codec import Decoder

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


def library_cpu_s(data: bytes) -> float:
    board = pyfirmata2.Board.__new__(pyfirmata2.Board)
    board.sp, board.samplerThread, board.name = MemoryPort(data), None, "memory"
    board.setup_layout(pyfirmata2.BOARDS["arduino"])
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


def best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(ROUNDS))


def measure() -> list[tuple[str, str, float]]:
    """Rows of stream, parser, CPU seconds."""
    rows = []
    for name, unit in STREAMS.items():
        data = unit * (MESSAGES * 3 // len(unit))
        rows.append((name, "pyFirmata2 iterate()", best(lambda data=data: library_cpu_s(data))))
        for size in (3, 64, 4096):
            cpu_s = best(lambda data=data, size=size: codec_cpu_s(data, size))
            rows.append((name, f"mlink, {size}-byte chunks", cpu_s))
        cpu_s = best(lambda data=data: timed_codec_cpu_s(data, 64))
        rows.append((name, "mlink with times, 64-byte", cpu_s))
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
