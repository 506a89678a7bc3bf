"""Leads the hosts of a run from the controller: they prepare, start at one time, stop with it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from mlink.closing import ClosesOnExit
from mlink.engine.remote import Figures, Looked, StartAt, Wait
from mlink.engine.status import Failure, RunObserver
from mlink.errors import HostError
from mlink.hosts.link.calls import Calls
from mlink.hosts.run import messages
from mlink.hosts.run.peer import Peer
from mlink.hosts.run.split import Part

_STEP_S: Final = 0.02
_MARGIN_S: Final = 0.25
"""Time from the choice of the start to the start: hosts have to have it before."""
_GO_S: Final = 10.0
_CLOCK_S: Final = 30.0

log = logging.getLogger("mlink.hosts")
AddClock = Callable[[str, int, bytes], None]
"""Begins exchanges of clocks with a host: (name, port, key)."""


class Lead(ClosesOnExit):
    """Implements `RunControl` for the machine that leads.

    Args:
        calls: Asks hosts.
        parts: Host → its part of the bench, without the controller.
        options: Host → options of the run there.
        scripts: Host → module → its script.
        owner: Who leads, for people at the hosts.
        observer: Receives logs and printed lines of the hosts.
        add_clock: Begins exchanges of clocks with a host; None for hosts that share this clock.
    """

    def __init__(
        self,
        calls: Calls,
        parts: Mapping[str, Part],
        options: Mapping[str, messages.HostOptions],
        scripts: Mapping[str, Mapping[str, bytes]],
        *,
        owner: str,
        observer: RunObserver,
        add_clock: AddClock | None = None,
    ) -> None:
        self._calls, self._parts, self._options = calls, parts, options
        self._scripts, self._owner, self._observer = scripts, owner, observer
        self._add_clock = add_clock
        self.peers: dict[str, Peer] = {}
        self.failures: list[Failure] = []
        """Failures of hosts that were passed on, in their order."""
        self.t0_ns = 0
        self._gaps_seen: dict[str, int] = dict.fromkeys(parts, 0)
        self._is_back: dict[str, bool] = dict.fromkeys(parts, True)
        self._has_stopped = False

    def prepare(self, run_uuid: bytes, wait: Wait) -> None:
        """Let the hosts begin; they prepare beside this machine.

        Raises:
            HostError: One is not there, or cannot run its part.
        """
        keys = {}
        for host, part in self._parts.items():
            keys[host] = secrets.token_bytes(32) if self._add_clock is not None else b""
            options = self._options[host]
            peer = Peer(self._calls, host, run_uuid.hex(), options.island_s)
            self.peers[host] = peer
            peer.begin(
                messages.Prepare(
                    run_uuid.hex(), self._owner, part, options, dict(self._scripts[host]),
                    keys[host],
                )
            )  # fmt: skip
        while not all(peer.is_taken for peer in self.peers.values()):
            self._raise_errors()
            if not wait(_STEP_S):
                return
        for host, peer in self.peers.items():
            if self._add_clock is not None:
                self._add_clock(host, peer.clock_port, keys[host])

    def await_start(self, wait: Wait) -> StartAt | None:
        """Choose the start when all hosts have prepared, and wait for it.

        Raises:
            HostError: A host cannot be reached, or ends.
        """
        if not self._wait_for_all(lambda peer: peer.is_prepared and _clock_is_known(peer), wait):
            return None
        t0_ns = time.monotonic_ns() + round(_MARGIN_S * 1e9)
        for peer in self.peers.values():
            peer.go(t0_ns)
        end_s = time.monotonic() + _GO_S
        while not all(peer.has_started for peer in self.peers.values()):
            self._raise_errors()
            late = [peer.host for peer in self.peers.values() if not peer.has_started]
            if time.monotonic() > end_s:
                raise HostError(
                    f"host {late[0]} did not take the start within {_GO_S:g} s",
                    host=late[0],
                    remedy="Look at the connection to it.",
                )
            if not wait(_STEP_S):
                return None
        while (left_ns := t0_ns - time.monotonic_ns()) > 0:
            if not wait(min(_STEP_S, left_ns / 1e9)):
                return None
        self.t0_ns = t0_ns
        return StartAt(t0_ns, {"role": "controller", "hosts": ", ".join(sorted(self.peers))})

    def started(self, t0_ns: int) -> Figures:  # noqa: ARG002
        """Return the clocks of the hosts."""
        return {
            f"{host}_{key}": value
            for host, peer in self.peers.items()
            for key, value in peer.clock.items()
        }

    def look(self) -> Looked:
        """Return what the hosts have reported."""
        failures: list[Failure] = []
        stop = ""
        for host, peer in self.peers.items():
            failures += self._events(peer)
            self._note_gaps(peer)
            if peer.error is not None:
                failures.append(Failure("", "run", peer.error.message, peer.error.remedy))
            elif peer.ends is not None and not self._has_stopped:
                stop = stop or f"{host}: {peer.ends}"
        new = [failure for failure in failures if failure not in self.failures]
        self.failures += new
        return Looked(tuple(new), "" if new else stop)

    def ended(self, *, success: bool) -> None:
        """Let the hosts stop."""
        self._has_stopped = True
        for peer in self.peers.values():
            if not peer.is_over:
                peer.halt(success=success)

    def finish(self, *, abort: bool) -> None:
        """Wait until all hosts are over, or cannot be reached.

        Args:
            abort: Whether they end without waiting for their modules.
        """
        if abort:
            for peer in self.peers.values():
                peer.halt(success=False, abort=True)
        while not all(peer.is_over for peer in self.peers.values()):
            self.look()
            time.sleep(_STEP_S)
        self.look()

    def close(self) -> None:
        """Ask no more."""
        for peer in self.peers.values():
            peer.close()

    def _wait_for_all(self, done: Callable[[Peer], bool], wait: Wait) -> bool:
        """Wait for all hosts; return whether they are ready, and the run does not end."""
        since_s = time.monotonic()
        while not all(done(peer) for peer in self.peers.values()):
            self._raise_errors()
            limit_s = max(each.prepare_timeout_s for each in self._options.values()) + _CLOCK_S
            if time.monotonic() - since_s > limit_s:
                late = next(peer for peer in self.peers.values() if not done(peer))
                what = "its clock is not known" if late.is_prepared else "it has not prepared"
                raise HostError(
                    f"host {late.host} is not ready after {limit_s:g} s: {what}",
                    host=late.host,
                    remedy="Look at its log; clocks need UDP packets between both machines.",
                )
            if not wait(_STEP_S):
                return False
        return True

    def _raise_errors(self) -> None:
        looked = self.look()
        for failure in looked.failures:
            self.failures.remove(failure)  # raised instead
            host = failure.module.rpartition(" on ")[2]
            raise HostError(str(failure), host=host, remedy=failure.remedy)
        if looked.stop:
            raise HostError(f"before the start the run has ended on {looked.stop}")

    def _events(self, peer: Peer) -> list[Failure]:
        found: list[Failure] = []
        while peer.events:
            event = peer.events.popleft()
            match event:
                case messages.Logged(module=module, level=level, text=text):
                    self._observer.on_log(on_host(module, peer.host), level, text)
                case messages.Printed(module=module, text=text):
                    self._observer.on_output(on_host(module, peer.host), text)
                case messages.Failed(failure=failure):
                    found.append(failure_on(failure, peer.host))
        return found

    def _note_gaps(self, peer: Peer) -> None:
        """Log that a host cannot be reached, and that it is back."""
        host = peer.host
        if len(peer.gaps) > self._gaps_seen[host]:
            self._gaps_seen[host] = len(peer.gaps)
            self._is_back[host] = False
            options = self._options[host]
            text = f"host {host} cannot be reached: it goes on for {options.island_s:g} s without"
            if options.on_loss == "stop":
                text = f"host {host} cannot be reached: it stops its modules"
            self._observer.on_log("", logging.WARNING, text)
        if not self._is_back[host] and peer.gaps and peer.gaps[-1].until_s:
            self._is_back[host] = True
            length_s = peer.gaps[-1].until_s - peer.gaps[-1].from_s
            text = f"host {host} is back after {length_s:.1f} s"
            self._observer.on_log("", logging.WARNING, text)


def _clock_is_known(peer: Peer) -> bool:
    return not peer.clock or float(peer.clock.get("clock_uncertainty_usec", -1.0)) >= 0


def on_host(module: str, host: str) -> str:
    """Return how a module of another host is called in messages; "" is that host's engine."""
    return f"{module} on {host}" if module else host


def failure_on(failure: Failure, host: str) -> Failure:
    """Return a host's failure as one of the run."""
    return Failure(
        on_host(failure.module, host), failure.phase, failure.message, failure.remedy,
        failure.detail,
    )  # fmt: skip
