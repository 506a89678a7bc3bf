"""The lease on a host: one controller at a time, for one run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from mlink.closing import ClosesOnExit
from mlink.errors import HostError
from mlink.hosts.link.calls import Message
from mlink.hosts.link.keys import run_key

if TYPE_CHECKING:
    import zenoh

    from mlink.hosts.link.session import HostSession

RunId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8,32}$")]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

log = logging.getLogger("mlink.hosts")


class TakeHost(Message, frozen=True):
    """Asks for the lease on a host."""

    run: RunId
    owner: _Text
    """Who asks, for people: "ada at desk, led.toml"."""
    keep_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    """How long the lease lasts without a sign of the controller, in seconds."""


class Lease(Message, frozen=True):
    """Answer: the lease on a host; `run` is empty when nobody has it."""

    run: str = ""
    owner: str = ""
    keep_s: float = 0.0
    held_s: float = 0.0
    """For how long it has been held, in seconds."""
    away_s: float = 0.0
    """For how long its controller has given no sign, in seconds; 0 while it is there."""


class ReleaseHost(Message, frozen=True):
    """Ends a lease: that of a run, or with an empty `run` whoever has it. Answered by `Lease`."""

    run: str = ""
    by: _Text = "a controller"


def lease_key(run: str) -> str:
    """Return the key of the token that a controller holds while it leads a run."""
    return run_key(run, "controller")


class LeaseKeeper(ClosesOnExit):
    """Keeps the lease on this host.

    Args:
        session: An open session, in which the controller's token is watched.
        on_end: Called with a lease that has ended, and why, outside of all locks; not when the
            run itself has ended it.
        clock_s: Time in seconds that only grows.
    """

    def __init__(
        self,
        session: HostSession,
        on_end: Callable[[Lease, str], object] = lambda _lease, _why: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._on_end, self._clock_s = session, on_end, clock_s
        self._lock = threading.Lock()
        self._taken: TakeHost | None = None
        self._since_s = 0.0
        self._away_since_s: float | None = None
        self._subscriber: Any = None

    def take(self, request: TakeHost) -> Lease:
        """Take the lease; its owner may take it again.

        Raises:
            HostError: Another run has it.
        """
        with self._lock:
            held = self._taken
            if held is not None and held.run != request.run:
                away = self._now().away_s
                without = f", which has given no sign for {away:.0f} s" if away else ""
                raise HostError(
                    f"the host is taken by {held.owner}{without}",
                    remedy="Wait for its run to end; or end it: mlink hosts --release.",
                )
            if held is None:
                self._since_s = self._away_since_s = self._clock_s()
            self._taken = request
        if held is None:
            self._watch(request.run)
            log.info("taken by %s (run %s)", request.owner, request.run)
        return self.now()

    def _watch(self, run: str) -> None:
        self._unwatch()
        put = _put()

        def on_token(sample: zenoh.Sample) -> None:
            with self._lock:
                if self._taken is None or self._taken.run != run:
                    return
                self._away_since_s = None if sample.kind == put else self._clock_s()
            log.info("the controller is %s", "there" if sample.kind == put else "gone")

        self._subscriber = self._session.zenoh.liveliness().declare_subscriber(
            lease_key(run), on_token, history=True
        )

    def _unwatch(self) -> None:
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.undeclare()

    def check(self, run: str) -> None:
        """Refuse what is asked for a run that has not the lease.

        Raises:
            HostError: It has not.
        """
        now = self.now()
        if now.run != run:
            raise HostError(
                f"run {run} has not taken this host" + (f"; {now.owner} has" if now.run else ""),
                remedy="Its lease has ended: start the run again.",
            )

    def release(self, request: ReleaseHost) -> Lease:
        """End a lease, and return it; nothing happens when that run has it not.

        Ended by another than the run itself, `on_end` is called.
        """
        return self._end(f"released by {request.by}", request.run, quiet=bool(request.run))

    def _end(self, why: str, run: str, *, quiet: bool = False) -> Lease:
        with self._lock:
            ended = self._now()
            if not ended.run or run not in ("", ended.run):
                return ended if not run else Lease()
            self._taken = self._away_since_s = None
        self._unwatch()
        log.info("the lease of %s has ended: %s", ended.owner, why)
        if not quiet:
            self._on_end(ended, why)
        return ended

    def look(self) -> None:
        """End the lease if its controller has given no sign for too long; call it often."""
        now = self.now()
        if now.run and now.away_s > now.keep_s:
            self._end(f"its controller has given no sign for {now.away_s:.0f} s", now.run)

    def now(self) -> Lease:
        """Return the lease as it is now."""
        with self._lock:
            return self._now()

    def _now(self) -> Lease:
        if self._taken is None:
            return Lease()
        now_s, away_s = self._clock_s(), self._away_since_s
        return Lease(
            run=self._taken.run,
            owner=self._taken.owner,
            keep_s=self._taken.keep_s,
            held_s=now_s - self._since_s,
            away_s=0.0 if away_s is None else now_s - away_s,
        )

    def close(self) -> None:
        """Watch no longer; the lease ends without a word."""
        self._unwatch()


def hold_lease(session: HostSession, run: str) -> Any:
    """Return a token that says that this controller leads a run; `undeclare()` ends it."""
    return session.zenoh.liveliness().declare_token(lease_key(run))


def _put() -> Any:
    import zenoh

    return zenoh.SampleKind.PUT
