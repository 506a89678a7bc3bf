"""User callbacks in threads of their own, so that a slow one delays no other."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

_QUEUE_ITEMS: Final = 4096
_log = logging.getLogger(__name__)


class CallbackThread:
    """Calls a user function with each value, in order.

    When the queue is full, new values are dropped and counted in `dropped`. After an exception the
    next value is delivered as usual.

    Args:
        name: Name of the thread.
        call: The user function.
        wanted: Asked before each call; a value is dropped when it returns False.
        on_error: Called with each exception of `call`.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[Any], object],
        *,
        wanted: Callable[[], bool],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.dropped = 0
        self._name = name
        self._call = call
        self._wanted = wanted
        self._on_error = on_error
        self._queue: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
        self._stopping = False
        # A daemon thread: the user's function may never return.
        self._thread = threading.Thread(target=self._run, name=f"callback {name}", daemon=True)
        self._thread.start()

    def put(self, value: object) -> None:
        """Queue a call with `value`; never waits."""
        if self._queue.qsize() < _QUEUE_ITEMS:
            self._queue.put((value,))
            return
        if not self.dropped:
            _log.warning("%s: the callback is too slow, values are dropped", self._name)
        self.dropped += 1

    def stop(self) -> None:
        """Drop the queued values and end the thread after a running call."""
        self._stopping = True
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopping:
            if not self._wanted():
                continue
            try:
                self._call(item[0])
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything
                self._on_error(error)
