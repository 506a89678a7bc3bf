"""Waits until all threads of an encoder sleep: SVT-AV1 can deadlock otherwise.

With `pred-struct=1`, SVT-AV1 (seen in 4.1) describes every picture in the same object. Its picture
manager passes a picture on to the next thread, and only then reads from that object which reference
pictures are free. If it loses the processor between the two for as long as the others need for the
picture, our thread already has the packet and sends the next picture, which overwrites the object.
That reference picture stays in use for ever; soon none is left, and all threads wait for each
other, as does our thread, in C code that no time-out interrupts. No option of the encoder prevents
this. The picture manager does not sleep between the two, so it is safe to send the next picture
when all threads sleep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

LOOKS = 10_000
"""Limit for one picture, 1 s or more. It counts looks, not time: while this process is stopped, or
gets no processor, its threads cannot go to sleep either."""
_LOOK_SEC = 0.0001
_AT_REST = frozenset(b"SXZ")
"""Letters of the kernel for threads that sleep or have ended."""


class EncoderThreads:
    """Knows whether the threads of an encoder sleep.

    Args:
        ids: The kernel's numbers of the threads, which belong to this process.

    Raises:
        OSError: This process has too few descriptors.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self._states: list[int] = []
        """open files, as opening them anew would take most of the time"""
        for number in ids:
            try:
                self._states.append(
                    os.open(f"/proc/self/task/{number}/stat", os.O_RDONLY | os.O_CLOEXEC)
                )
            except FileNotFoundError:
                continue  # it has ended
            except OSError:
                self.close()
                raise

    def settle(self) -> bool:
        """Wait until all of them sleep, at most for LOOKS looks.

        Returns:
            Whether they sleep.
        """
        for _ in range(LOOKS):
            if all(map(_rests, self._states)):
                return True
            time.sleep(_LOOK_SEC)
        return False

    def close(self) -> None:
        """Close the files; calling it again does nothing."""
        states, self._states = self._states, []
        for state in states:
            os.close(state)


def _rests(state: int) -> bool:
    try:
        text = os.pread(state, 64, 0)  # "1234 (name) S 1 …"
    except ProcessLookupError:
        return True  # it has ended
    return text[text.rindex(b")") + 2] in _AT_REST
