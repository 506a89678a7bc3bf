"""A UDP proxy between two machines: delay of each way, jitter, loss, reordering, a cut cable."""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Self


@dataclass
class Ways:
    """What happens to packets; may be changed while the proxy runs."""

    there_s: float = 0.0
    """Delay towards the other machine."""
    back_s: float = 0.0
    jitter_s: float = 0.0
    """Mean of an exponential delay that each packet has on top: packets overtake each other."""
    loss: float = 0.0
    is_cut: bool = False


class UdpProxy:
    """Forwards between the first who sends to `port` and the other machine.

    Args:
        address: Own address on both sides.
        to: Address and port of the other machine.
        ways: What happens to packets.
    """

    def __init__(self, address: str, to: tuple[str, int], ways: Ways) -> None:
        self.ways = ways
        self._rng = random.Random(1)
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind((address, 0))
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.connect(to)
        self.port: int = self._near.getsockname()[1]
        self._client: tuple[str, int] | None = None
        self._due: list[tuple[float, int, bool, bytes]] = []
        self._numbers = itertools.count()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(5.0)
        self._near.close()
        self._far.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            left_s = self._due[0][0] - time.monotonic() if self._due else 0.05
            ready = select.select([self._near, self._far], [], [], max(0.0, min(0.05, left_s)))[0]
            for each in ready:
                self._take(each)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, forward, data = heapq.heappop(self._due)
                try:
                    if forward:
                        self._far.send(data)
                    elif self._client is not None:
                        self._near.sendto(data, self._client)
                except OSError:
                    pass  # nobody is there now

    def _take(self, from_: socket.socket) -> None:
        forward = from_ is self._near
        try:
            data, sender = from_.recvfrom(2048)
        except OSError:
            return
        if forward:
            self._client = sender
        ways = self.ways
        if ways.is_cut or self._rng.random() < ways.loss:
            return
        delay_s = ways.there_s if forward else ways.back_s
        if ways.jitter_s:
            delay_s += self._rng.expovariate(1 / ways.jitter_s)
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._numbers), forward, data))
