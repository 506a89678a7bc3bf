"""Keep the processors from falling asleep while a loop is closed through a device.

An idle processor halts, and takes 20 to 100 µs to wake (much more where it sleeps deeply): in a
loop of five wake-ups that is a third of its latency. Linux holds processors awake as long as a
program keeps /dev/cpu_dma_latency open with the latency it can bear (Documentation/power/
pm_qos_interface.rst). It costs power, so only benches that command a device ask for it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEVICE = Path("/dev/cpu_dma_latency")
REMEDY = (
    'echo \'KERNEL=="cpu_dma_latency", GROUP="video", MODE="0660"\' | sudo tee '
    "/etc/udev/rules.d/95-mlink-latency.rules && sudo udevadm trigger"
)


@contextmanager
def processors_awake(latency_usec: int = 0, device: Path = DEVICE) -> Iterator[str]:
    """Bear no wake-up of more than `latency_usec` in the block; yields a sentence that says so.

    Never fails: where it is refused the sentence tells how to allow it.
    """
    try:
        fd = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        yield f"processors may sleep ({device}: {error.strerror}); to keep them awake: {REMEDY}"
        return
    try:
        os.write(fd, struct.pack("=i", latency_usec))  # a binary int32, in µs
        yield "processors are kept awake ([bench] keep_awake = false lets them sleep)"
    finally:
        os.close(fd)
