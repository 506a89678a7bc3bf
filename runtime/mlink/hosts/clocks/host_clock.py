"""A host's end of clock exchanges: asks, estimates, steers its clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

from mlink.closing import ClosesOnExit
from mlink.errors import HostError, MlinkError
from mlink.hosts.clocks.estimate import STOPPED_NS, ClockEstimate
from mlink.hosts.clocks.page import ClockPage
from mlink.hosts.clocks.system import clock_error_usec, read_clocks
from mlink.hosts.clocks.wire import Address, ClockSocket, Kind, Now, Packet, Signer
from mlink.steered_clock import ClockNotes, ClockState

ASK_NS: Final = 125_000_000
"""Interval of exchanges."""
_FIRST_ASK_NS: Final = 20_000_000
_FIRST_EXCHANGES: Final = 100
"""Exchanges that follow each other soon: then the rate is known well enough to start."""
_WAIT_S: Final = 0.05
_AT_ONCE: Final = 16
_MOST_OPEN: Final = 64
_JOIN_S: Final = 5.0

log = logging.getLogger("mlink.hosts")


class HostClock(ClosesOnExit):
    """Follows the controller's clock, in one thread; `page_fd` is for the workers of this host.

    Args:
        key: Secret that the controller has too, 32 bytes, made for one run and sent by TLS.
        address: Own address to listen at.
        port: Own UDP port; 0 takes a free one.
        now_ns: This host's clock.

    Raises:
        HostError: The address cannot be used.
    """

    def __init__(
        self,
        key: bytes,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        now_ns: Now = time.monotonic_ns,
    ) -> None:
        self._now_ns = now_ns
        self._signer = Signer(key)
        self._socket = ClockSocket(address, port, now_ns=now_ns)
        self.estimate = ClockEstimate()
        self._page = ClockPage(self.estimate)
        self._lock = threading.Lock()
        """Of the estimate and the page."""
        self._closed = threading.Event()
        self._known = threading.Event()
        self._peer: Address | None = None
        self._peer_number = 0
        self._asked: dict[int, int] = {}
        """Open questions: number → reading when it was sent."""
        self._number = 0
        self._next_ask_ns = 0
        self._lost = self._refused = 0
        self._steps_seen = 0
        self._stopped = False
        self._system: tuple[float, float] | None = None
        """By how much the system clocks contradict the exchanges, and how wrong that may be, µs; a
        check only. None while nothing synchronises one of them."""
        self._largest_usec = 0.0
        self._thread = threading.Thread(target=self._run, name="host clock", daemon=True)

    @property
    def port(self) -> int:
        """Own UDP port."""
        return self._socket.port

    @property
    def page_fd(self) -> int:
        """The clock's page, for `RunOptions.clock_page`; open until `close`."""
        return self._page.fd

    def start(self) -> None:
        """Begin the exchanges; the controller's first packet says where it is."""
        self._thread.start()

    def wait_known(self, timeout_s: float) -> bool:
        """Wait until the controller's clock is known; return False after the time-out."""
        return self._known.wait(timeout_s)

    @property
    def is_known(self) -> bool:
        """Whether enough exchanges have succeeded to start a run."""
        return self._known.is_set()

    def begin(self, origin_ns: int) -> None:
        """Set master time 0, a reading of the controller's clock in ns; it may be in the future.

        Raises:
            HostError: The controller's clock is not known yet.
            ControlError: It was set before.
        """
        if not self.is_known:
            raise HostError(
                "the controller's clock is not known here: no exchange of clocks has succeeded",
                remedy=f"Let UDP packets of the controller reach port {self.port} of this host.",
            )
        with self._lock:
            self._page.begin(origin_ns, self._now_ns())

    def to_local_ns(self, master_usec: int) -> int:
        """Return the reading of this host's clock at a master time near now, in ns.

        Raises:
            ControlError: Master time has not begun.
        """
        with self._lock:
            return self._page.to_local_ns(master_usec)

    def figures(self) -> Mapping[str, float | str]:
        """Return how the clock stands, for `mlink hosts`, the summary and the recording."""
        with self._lock:
            now_ns, estimate, page = self._now_ns(), self.estimate, self._page
            uncertain_usec = page.uncertainty_ns(now_ns) / 1000 if self.is_known else -1.0
            found: dict[str, float | str] = {
                "clock_state": page.state(now_ns).name.lower(),
                "clock_offset_usec": estimate.offset_ns(now_ns) / 1000,
                "clock_rate_ppm": round(estimate.rate_ppm, 4),
                "clock_uncertainty_usec": uncertain_usec,
                "clock_largest_uncertainty_usec": self._largest_usec,  # since the run's start
                "clock_round_trip_usec": estimate.round_trip_ns / 1000,
                "clock_exchanges": estimate.exchanges,
                "clock_exchanges_lost": self._lost,
                "clock_packets_refused": self._refused + estimate.refused,
                "clock_steps": estimate.step_count,
            }
        if self._system is not None:
            found["system_clocks_differ_usec"] = round(self._system[0], 1)
            found["system_clocks_error_usec"] = round(self._system[1], 1)
        return found

    def close(self) -> None:
        """End the exchanges; a second call does nothing. Workers keep their page."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        self._socket.close()
        self._page.close()

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._socket.wait(self._left_s())
                self.serve()
        except (MlinkError, OSError, ValueError) as error:  # readers see that nobody writes
            log.error("the clock of this host is no longer compared: %s", error)

    def _left_s(self) -> float:
        asks = self._next_ask_ns if self._peer is not None else 1 << 62
        due_ns = min(asks, self._page.due_ns)
        return max(0.0, min(_WAIT_S, (due_ns - self._now_ns()) / 1e9))

    def serve(self) -> None:
        """Do once what is due: take arrivals, ask, steer. The thread calls it."""
        for _ in range(_AT_ONCE):
            arrival = self._socket.receive()
            if arrival is None:
                break
            packet = self._signer.read(arrival.data)
            if packet is None:
                self._refused += 1
            elif packet.kind is Kind.HERE and packet.number > self._peer_number:
                self._peer, self._peer_number = arrival.sender, packet.number
            elif packet.kind is Kind.ANSWER:
                self._take(packet, arrival.reading_ns)
        now_ns = self._now_ns()
        if self._peer is not None and now_ns >= self._next_ask_ns:
            self._ask(self._peer)
        with self._lock:
            self._page.steer(now_ns)
            if self._page.newest is not None:
                uncertain_usec = self._page.uncertainty_ns(now_ns) / 1000
                self._largest_usec = max(self._largest_usec, uncertain_usec)
            estimate = self.estimate
            self._page.note(
                ClockNotes(
                    estimate.round_trip_ns, estimate.exchanges, self._lost, estimate.step_count
                )
            )
        self._report_stop(self._page.state(now_ns))

    def _ask(self, peer: Address) -> None:
        hurried = self.estimate.exchanges < _FIRST_EXCHANGES
        now_ns = self._now_ns()
        self._next_ask_ns = now_ns + (_FIRST_ASK_NS if hurried else ASK_NS)
        for number, sent_ns in list(self._asked.items()):
            if now_ns - sent_ns > STOPPED_NS or len(self._asked) >= _MOST_OPEN:
                del self._asked[number]
                self._lost += 1
        self._number += 1
        # read before it is signed, as the controller does: the time for that is on both ways
        self._asked[self._number] = now_ns = self._now_ns()
        self._socket.send(self._signer.pack(Packet(Kind.ASK, self._number)), peer)

    def _take(self, packet: Packet, reading_ns: int) -> None:
        sent_ns = self._asked.pop(packet.number, None)
        if sent_ns is None:  # late, or sent twice by somebody
            self._refused += 1
            return
        with self._lock:
            self.estimate.exchange(sent_ns, packet.received_ns, packet.answered_ns, reading_ns)
            if self.estimate.exchanges >= _FIRST_EXCHANGES // 2 and self.estimate.is_known:
                self._known.set()
        self._check_system(packet)
        self._report_step()

    def _check_system(self, packet: Packet) -> None:
        own_usec = clock_error_usec()
        if packet.system_error_ns < 0 or own_usec is None or not self.estimate.is_known:
            self._system = None
            return
        by_system_ns = read_clocks().offset_ns - packet.system_ns
        differs_ns = by_system_ns - self.estimate.offset_ns(self._now_ns())
        self._system = (differs_ns / 1000, own_usec + packet.system_error_ns / 1000)

    def _report_step(self) -> None:
        if self.estimate.step_count == self._steps_seen:
            return
        self._steps_seen = self.estimate.step_count
        size_s = self.estimate.steps[-1].size_ns / 1e9
        log.warning(
            "this host's clock and the controller's have jumped by %+.6f s against each other: one "
            "of them was suspended, or its virtual machine was. Times here are right again within "
            "%.1f s; until then their uncertainty includes the jump",
            size_s,
            1.0 if size_s > 0 else 2 * abs(size_s) + 5,
        )

    def _report_stop(self, state: ClockState) -> None:
        stopped = state is ClockState.HOLDING
        if stopped and not self._stopped:
            log.warning(
                "the controller's clock has not answered for %g s: this host goes on at the last "
                "rate (%+.2f ppm), and its times grow uncertain",
                STOPPED_NS / 1e9,
                self.estimate.rate_ppm,
            )
        elif self._stopped and not stopped:
            log.warning("the controller's clock answers again")
        self._stopped = stopped
