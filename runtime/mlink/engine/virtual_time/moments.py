"""What companions do in virtual time: they act at moments, while time stands still."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from mlink.engine.virtual_time.conductor import Conductor
from mlink.errors import ControlError, MlinkError

_STEP_S = 0.05


class Moments:
    """Implements `mlink.bench.companions.VirtualMoments`.

    Args:
        conductor: Decides whose turn is next.
        users: Device → modules that use it.
        pump: Handles what workers send, for at most so many seconds; for the engine's thread.
    """

    def __init__(
        self,
        conductor: Conductor,
        users: Mapping[str, Sequence[str]],
        pump: Callable[[float], None],
    ) -> None:
        self._conductor = conductor
        self._users = users
        self._pump = pump
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._engine = 0
        """The thread that makes the calls."""

    # companions -------------------------------------------------------------------------------

    @property
    def now_usec(self) -> int:
        """Master time."""
        return self._conductor.run_usec

    def at(self, time_usec: int, call: Callable[[], object]) -> None:
        """Make a call at a master time, before any module has a turn then."""
        with self._lock:
            heapq.heappush(self._due, (time_usec, next(self._numbers), call))

    def wake(self, devices: Iterable[str]) -> None:
        """Give the modules that use these devices a turn, at the present time."""
        conductor = self._conductor
        names = [name for device in devices for name in self._users.get(device, ())]
        conductor.simulated(conductor.now_usec, names)

    def hold(self, module: str) -> None:
        """Give a module no turn until `release`."""
        self._conductor.held.add(module)

    def release(self, module: str) -> None:
        """Give a module turns again."""
        self._conductor.held.discard(module)

    def settle(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait in real time until `done`; return False after the time-out."""
        end_s = time.monotonic() + timeout_s
        wait = self._pump if threading.get_ident() == self._engine else time.sleep
        while not done():
            if time.monotonic() >= end_s:
                return False
            wait(_STEP_S)
        return True

    # the engine -------------------------------------------------------------------------------

    @property
    def next_usec(self) -> int | None:
        """Virtual time of the next call; None without one."""
        with self._lock:
            return self._due[0][0] + self._conductor.zero_usec if self._due else None

    def make_next(self) -> None:
        """Make the next call.

        Raises:
            MlinkError: It failed.
        """
        self._engine = threading.get_ident()
        with self._lock:
            call = heapq.heappop(self._due)[2]
        try:
            call()
        except MlinkError:
            raise
        except Exception as error:
            raise ControlError(
                f"a companion of the bench failed at {self.now_usec} µs: {error!r}",
                remedy="This is a fault of the companion; please report it to its package.",
            ) from error
