"""A TCP link of a test's own between two hosts: it can stand still, be cut, and be slow."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from mlink.closing import ClosesOnExit


class SlowLink(ClosesOnExit):
    """Forwards connections to another port of this machine, in a thread of its own.

    Attributes:
        bytes_per_s: Most bytes per second and direction; 0 for no limit.
    """

    def __init__(self, port: int) -> None:
        self._stalled = False
        self.bytes_per_s = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._refuses = self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where to connect, for Zenoh."""
        return f"tcp/127.0.0.1:{self.port}"

    def stall(self) -> None:
        """Forward nothing until `go_on`: from the return of this call not a byte."""
        with self._lock:
            self._stalled = True

    def go_on(self) -> None:
        """Forward again, what came meanwhile first."""
        self._stalled = False

    def cut(self) -> None:
        """Break all connections, and refuse new ones until `join`."""
        with self._lock:
            self._refuses = True
            self._break()

    def join(self) -> None:
        """Take connections again."""
        self._refuses = False

    def close(self) -> None:
        """End the link."""
        self._ended = True
        self._thread.join(5)
        with self._lock:
            self._break()
            self._listener.close()

    def _break(self) -> None:
        for each in self._pairs:
            each.close()
        self._pairs.clear()

    def _forward(self) -> None:
        while not self._ended:
            with self._lock, contextlib.suppress(OSError, ValueError):
                self._turn()
            time.sleep(0.001 if self.bytes_per_s else 0.0002)

    def _turn(self) -> None:
        sources = [] if self._stalled else list(self._pairs)
        for each in select.select([self._listener, *sources], [], [], 0.005)[0]:
            if each is self._listener:
                self._accept()
                continue
            size = max(1, self.bytes_per_s // 200) if self.bytes_per_s else 1 << 16
            try:
                data = each.recv(size)
                if data:
                    self._pairs[each].sendall(data)
            except OSError:
                data = b""
            if self.bytes_per_s:
                time.sleep(len(data) / self.bytes_per_s)
            if not data:
                other = self._pairs.pop(each)
                self._pairs.pop(other, None)
                each.close()
                other.close()
                return

    def _accept(self) -> None:
        near = self._listener.accept()[0]
        if self._refuses:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self._target))
        self._pairs[near], self._pairs[far] = far, near
