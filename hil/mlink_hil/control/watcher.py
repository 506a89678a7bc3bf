"""A client of a simulated board's control socket that reports each edge of each watched pin.

One thread reads. Replies and edges arrive in order, so once a reply has arrived, every edge before
it has been reported. That makes `barrier` exact: no edge up to its time can still be in transit.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mlink.peers import is_trusted
from mlink_hil.control import messages
from mlink_hil.control.client import REPLY_TIMEOUT_SEC, ControlClient, ReplyT
from mlink_hil.control.messages import Edge


class BoardLink(ControlClient):
    """A connection to a board's control socket; any thread may send requests.

    Args:
        path: The control socket.
        on_edge: Called in the reader's thread for each edge.
        pins: Pins to watch, 0 to 19.
        wake: In virtual time: whether the simulation stops at each of their edges.

    Raises:
        DeviceError: No program listens at the socket.
    """

    def __init__(
        self,
        path: Path | str,
        on_edge: Callable[[Edge], None],
        *,
        pins: Sequence[int],
        wake: bool = False,
    ) -> None:
        super().__init__(path)
        self._on_edge = on_edge
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="hil-board", daemon=True)
        self._reader.start()
        self._ask(messages.Watch(list(pins), wake), messages.WatchReply)

    def barrier(self) -> int:
        """Return a time, ns of CLOCK_MONOTONIC, up to which all edges have been reported.

        Raises:
            DeviceError: The board does not answer.
        """
        return self.read(13).time_ns

    def simulated_on(self) -> bool:
        """Return whether the board's program runs on, so that edges may be missed here."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except OSError:
                return False
            return is_trusted(probe)

    def close(self) -> None:
        """Disconnect and wait for the reader's thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the board has closed it
        self._reader.join(REPLY_TIMEOUT_SEC)
        self._socket.close()

    def _ask(self, request: messages.Request, kind: type[ReplyT]) -> ReplyT:
        with self._turn:
            self._send(request)
            try:
                line = self._replies.get(timeout=REPLY_TIMEOUT_SEC)
            except queue.Empty as error:
                raise self._lost(error) from error
        if line is None:
            raise self._lost(None)
        return self._decode(line, kind)

    def _read(self) -> None:
        """Run the reader's thread."""
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    if line.startswith(b'{"event":'):
                        self._on_edge(msgspec.json.decode(line, type=Edge))
                    else:
                        self._replies.put(line)
        except (OSError, ValueError):
            pass  # closed, or the board's program ended
        self._replies.put(None)
