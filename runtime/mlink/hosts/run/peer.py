"""One host of a run, as the controller sees it: a thread that asks it for what is new."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mlink.engine.status import RunResult, RunStatus
from mlink.errors import HostError, MlinkError
from mlink.hosts.link.calls import Calls, Message
from mlink.hosts.run import messages

_LOOK_S: Final = 0.1
_ANSWER_S: Final = 2.0
_PREPARE_S: Final = 60.0
_MOST_EVENTS: Final = 20_000
_JOIN_S: Final = 5.0


class Gap:
    """A time without a connection to a host, of time.monotonic; `until_s` is 0 while it lasts."""

    def __init__(self, from_s: float) -> None:
        self.from_s, self.until_s = from_s, 0.0


class Peer:
    """Asks one host, in a thread of its own, until its run is over or it is given up.

    Args:
        calls: Asks hosts.
        host: Name of the host.
        run: The run's id, hexadecimal.
        island_s: How long to wait for a host that cannot be reached.
        make: Calls of another host's session have one thread each.
    """

    def __init__(self, calls: Calls, host: str, run: str, island_s: float) -> None:
        self._calls, self.host, self._run, self._island_s = calls, host, run, island_s
        self._asks: queue.Queue[Callable[[], object]] = queue.Queue(16)
        self._closing = False
        self.events: deque[messages.Event] = deque(maxlen=_MOST_EVENTS)
        """What happened there and was not taken yet; the thread appends."""
        self.left_out = 0
        self.status: RunStatus | None = None
        self.result: RunResult | None = None
        self.clock: dict[str, float | str] = {}
        self.clock_port = 0
        self.is_taken = self.is_prepared = self.has_started = False
        self.ends: str | None = None
        self.error: MlinkError | None = None
        """Why it cannot take part any more."""
        self.gaps: list[Gap] = []
        self._since = 0
        self._thread = threading.Thread(target=self._lead, name=f"host {host}", daemon=True)

    def begin(self, prepare: messages.Prepare) -> None:
        """Let the host prepare, and ask it from then on."""
        self._prepare = prepare
        self._thread.start()

    def go(self, t0_ns: int) -> None:
        """Let it start at a reading of this machine's clock."""

        def start() -> None:
            self._ask(messages.Go(self._run, t0_ns), messages.Done)
            self.has_started = True

        self._asks.put(start, timeout=1.0)

    def halt(self, *, success: bool, abort: bool = False) -> None:
        """Let it stop; tried again until it is reached, or given up."""
        request = messages.Halt(self._run, success, abort)
        self._asks.put(lambda: self._ask(request, messages.Done), timeout=1.0)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.result is not None or self.error is not None

    @property
    def is_lost(self) -> bool:
        """Whether it cannot be reached now."""
        return bool(self.gaps) and not self.gaps[-1].until_s

    def close(self) -> None:
        """Ask no more."""
        self._closing = True
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def _lead(self) -> None:
        """Run the thread."""
        try:
            taken = self._calls.ask(self.host, self._prepare, messages.Prepares, _PREPARE_S)
            self.clock_port = taken.clock_port
            self.is_taken = True
            while not (self._closing or self.is_over):
                self._turn()
        except MlinkError as error:
            self.error = error

    def _turn(self) -> None:
        """Make one call; bridge over the time in which the host cannot be reached."""
        ask: Callable[[], object] | None = None
        try:
            ask = self._asks.get(timeout=_LOOK_S)
        except queue.Empty:
            pass
        try:
            if ask is not None:
                ask()
            self._take(self._ask(messages.Look(self._run, self._since), messages.Seen))
            if self.is_lost:
                self.gaps[-1].until_s = time.monotonic()
        except HostError as error:
            if not _is_silence(error):
                raise
            self._note_silence(error)
            if ask is not None:
                self._asks.put(ask, timeout=1.0)

    def _note_silence(self, error: HostError) -> None:
        now_s = time.monotonic()
        if not self.is_lost:
            self.gaps.append(Gap(now_s))
        if now_s - self.gaps[-1].from_s > self._island_s:
            raise HostError(
                f"host {self.host} could not be reached for {self._island_s:g} s",
                host=self.host,
                remedy=f"{error.remedy} What it recorded is there: mlink gather RECORDING.",
            )

    def _ask(self, request: Message, answer: type[Any]) -> Any:
        return self._calls.ask(self.host, request, answer, _ANSWER_S)

    def _take(self, seen: messages.Seen) -> None:
        self.left_out += seen.left_out
        self.events.extend(seen.events)
        self._since = seen.next
        self.status, self.clock = seen.status or self.status, seen.clock
        self.is_prepared |= seen.is_prepared
        self.ends = self.ends if self.ends is not None else seen.ends
        self.result = seen.result


def _is_silence(error: HostError) -> bool:
    """Whether a host was not reached, rather than that it has refused."""
    text = error.message
    return "did not answer" in text or "is not there" in text or "cannot be asked" in text
