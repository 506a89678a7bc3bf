"""Keeps processors out of idle states while a loop is closed through a device.

An idle processor needs 20 to 100 µs to wake up, much more from deep idle states; in a loop with
five wake-ups that is a third of the latency. Linux avoids idle states as long as a program keeps
/dev/cpu_dma_latency open, with the longest latency that it accepts (kernel documentation,
power/pm_qos_interface). It costs power, so only benches that command a device use it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlink.realtime import RIGHTS_REMEDY

DEVICE = Path("/dev/cpu_dma_latency")


@contextmanager
def processors_awake(latency_usec: int = 0, device: Path = DEVICE) -> Iterator[str]:
    """Limit the wake-up latency of all processors within the block. Never fails.

    Args:
        latency_usec: Longest accepted latency, in µs; 0 keeps processors out of all idle states.
        device: The kernel's device file.

    Yields:
        A sentence about the result, with the command that allows it where it was refused.
    """
    try:
        fd = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        refusal = f"processors may sleep ({device}: {error.strerror})"
        yield f"{refusal}; to keep them awake: {RIGHTS_REMEDY}"
        return
    try:
        os.write(fd, struct.pack("=i", latency_usec))  # a binary int32 in µs
        yield "processors are kept awake ([bench] keep_awake = false lets them sleep)"
    finally:
        os.close(fd)
