"""The controller's end of clock exchanges: answers with its own readings."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from dataclasses import dataclass
from typing import Final

from mlink.closing import ClosesOnExit
from mlink.hosts.clocks.system import clock_error_usec, read_clocks
from mlink.hosts.clocks.wire import ClockSocket, Kind, Now, Packet, Signer

_HERE_S: Final = 0.25
"""Interval of packets that say where the controller is; they also keep firewalls open."""
_AT_ONCE: Final = 16
_JOIN_S: Final = 5.0
_SYSTEM_S: Final = 1.0

log = logging.getLogger("mlink.hosts")


@dataclass(slots=True)
class _Peer:
    socket: ClockSocket
    signer: Signer
    here: int = 0


class ClockServer(ClosesOnExit):
    """Answers the hosts of a run, in one thread; it sends first, so nothing has to listen here.

    Args:
        now_ns: This machine's clock.
    """

    def __init__(self, *, now_ns: Now = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._peers: dict[str, _Peer] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._system = (0, -1)
        self._system_from_s = 0.0
        self._thread = threading.Thread(target=self._serve, name="clock server", daemon=True)
        self._thread.start()

    def add(self, host: str, address: str, port: int, key: bytes) -> None:
        """Begin exchanges with a host.

        Args:
            host: Its name.
            address: Where its `HostClock` listens.
            port: Its port there.
            key: The key that both ends have, 32 bytes.

        Raises:
            HostError: The address cannot be used.
        """
        made = _Peer(ClockSocket(peer=(address, port), now_ns=self._now_ns), Signer(key))
        self.remove(host)
        with self._lock:
            self._peers[host] = made

    def remove(self, host: str) -> None:
        """End the exchanges with a host, if there are any."""
        with self._lock:
            peer = self._peers.pop(host, None)
            if peer is not None:
                peer.socket.close()

    def close(self) -> None:
        """End all exchanges; a second call does nothing."""
        self._closed.set()
        self._thread.join(_JOIN_S)
        for host in list(self._peers):
            self.remove(host)

    def _serve(self) -> None:
        next_here_s = 0.0
        while not self._closed.is_set():
            now_s = time.monotonic()
            if now_s >= self._system_from_s:
                self._system_from_s = now_s + _SYSTEM_S
                error_usec = clock_error_usec()
                error_ns = -1 if error_usec is None else round(1000 * error_usec)
                self._system = (read_clocks().offset_ns, error_ns)
            if now_s >= next_here_s:
                next_here_s = now_s + _HERE_S
                self._say_here()
            with self._lock:
                peers = {peer.socket.fileno(): peer for peer in self._peers.values()}
            if not peers:
                self._closed.wait(0.02)
                continue
            with contextlib.suppress(OSError, ValueError):  # one was removed meanwhile
                for fd in select.select(list(peers), [], [], 0.05)[0]:
                    with self._lock:
                        self._answer(peers[fd])

    def _say_here(self) -> None:
        with self._lock:
            for peer in self._peers.values():
                # the numbers grow over runs of this program too: older packets are not taken
                peer.here = max(peer.here + 1, time.time_ns() // 1_000_000)
                peer.socket.send(peer.signer.pack(Packet(Kind.HERE, peer.here)))

    def _answer(self, peer: _Peer) -> None:
        for _ in range(_AT_ONCE):
            arrival = peer.socket.receive()
            if arrival is None:
                return
            packet = peer.signer.read(arrival.data)
            if packet is None or packet.kind is not Kind.ASK:
                continue
            now_ns = self._now_ns()
            answer = Packet(Kind.ANSWER, packet.number, arrival.reading_ns, now_ns, *self._system)
            peer.socket.send(peer.signer.pack(answer))
