"""User callbacks, each in a thread of its own: a slow or failing one harms nobody else."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

_QUEUE_ITEMS: Final = 4096
_log = logging.getLogger(__name__)


class CallbackThread:
    """Calls one user function with each value put, in order.

    When `_QUEUE_ITEMS` values wait, newer ones are refused and counted in `dropped`. An
    exception is handed to `on_error`, and the next value is delivered all the same.
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
        # A daemon: the user's function may never return.
        self._thread = threading.Thread(target=self._run, name=f"callback {name}", daemon=True)
        self._thread.start()

    def put(self, value: object) -> None:
        """Have the function called with `value`; never waits."""
        if self._queue.qsize() < _QUEUE_ITEMS:
            self._queue.put((value,))
            return
        if not self.dropped:
            _log.warning("%s: the callback is too slow, values are dropped", self._name)
        self.dropped += 1

    def stop(self) -> None:
        """Call no more, not even for values that wait; a call that runs is let finish."""
        self._stopping = True
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopping:
            if not self._wanted():
                continue
            try:
                self._call(item[0])
            except Exception as error:  # noqa: BLE001 - whatever the user's function raises
                self._on_error(error)
