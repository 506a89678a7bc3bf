"""Receives a stream from another host, and sends it to the modules of this one."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import msgspec

from mlink.context import ModuleContext
from mlink.errors import HostError
from mlink.hosts.link.keys import run_key
from mlink.hosts.link.session import HostSession, zenoh_module
from mlink.hosts.run.bridge import STREAM, BridgeSettings
from mlink.hosts.run.items import item_decoder
from mlink.hosts.run.window import Inbox, Item, Meta, Packet, encode, read_down
from mlink.metadata import decode_metadata
from mlink.module import Module
from mlink.transport.codec import TIMED, is_small
from mlink.worker.output_port import WorkerOutput

_MOST_HELD: Final = 256
"""Packets that are kept before the start; the source sends further ones again."""
_ASK_S: Final = 0.2
_ACK_USEC: Final = 20_000
_ACK_EVERY: Final = 8
"""Packets after which an acknowledgement does not wait for the next tick."""
_STEP_USEC: Final = 10_000
_START_S: Final = 5.0
"""How long to wait in start() for metadata that do not change any more."""


class HostIn(Module[BridgeSettings]):
    """One stream from one host."""

    def __init__(self, context: ModuleContext[BridgeSettings]) -> None:
        super().__init__(context)
        self._port = context.outputs[STREAM]
        self._decode = item_decoder(self.settings.bridge.data_type)
        self._acks_each = not is_small(self.settings.bridge.data_type)
        self._inbox = Inbox()
        self._lock = threading.Lock()
        self._held: list[Packet] | None = []
        """Packets that came before the start; None after it."""
        self._meta: Meta | None = None
        self._unacknowledged = 0
        self._moved_s = 0.0
        self._sent_usec = 0
        self._session: HostSession | None = None
        self._publisher: Any = None
        self._subscriber: Any = None
        self._closing = False
        self.refused = 0
        """Messages that were none."""
        self._unreadable = 0
        """Items that could not be read."""

    def prepare(self) -> None:
        """Connect, and wait for the metadata of the source, unless the stream is feedback.

        Raises:
            HostError: They do not come in time.
        """
        link, bridge, zenoh = self.settings.link, self.settings.bridge, zenoh_module()
        self._session = HostSession(connect=[link.endpoint], mode="client")
        if bridge.data_type in TIMED and isinstance(self._port, WorkerOutput):
            self._port.now_ns = self._now_ns
        self._publisher = self._session.zenoh.declare_publisher(
            run_key(link.run, *self.settings.key, "up"),
            congestion_control=zenoh.CongestionControl.DROP,
            priority=zenoh.Priority.INTERACTIVE_HIGH,
            express=True,
        )
        self._subscriber = self._session.zenoh.declare_subscriber(
            run_key(link.run, *self.settings.key, "down"), self._on_message
        )
        if not self._wait_for_meta(0.0 if bridge.feedback else link.wait_s, final=False):
            if bridge.feedback or self.context.stop_asked:
                return
            raise HostError(
                f"the metadata of {bridge.stream} did not come from {bridge.source} within "
                f"{link.wait_s:g} s",
                host=bridge.source,
                remedy=f"Look at what '{bridge.module}' does there, and at the connection.",
            )

    def start(self) -> None:
        """Send what has come so far, with the final metadata."""
        wait_s = 0.0 if self.settings.bridge.feedback else _START_S
        if not self._wait_for_meta(wait_s, final=True) and wait_s and not self.context.stop_asked:
            self.log.warning(
                "%s has not started on %s within %g s: metadata that it sets then are missing",
                self.settings.bridge.module,
                self.settings.bridge.source,
                wait_s,
            )
        with self._lock:
            held, self._held = self._held, None
            for packet in held or ():
                self._take(packet)
        self._acknowledge()

    def run(self) -> None:
        """Receive until the stop; a thread of Zenoh sends what comes."""
        while self.context.running:
            self.context.serve(_ACK_USEC)
            self._acknowledge_if_due()

    def stop(self) -> None:
        """Receive until the end of the stream, or until nothing comes, not even that it lasts."""
        self._moved_s = time.monotonic()
        while not self._inbox.ended:
            if time.monotonic() - self._moved_s > self.settings.link.end_s or not self._rests():
                break
            self._acknowledge_if_due()
        self._acknowledge()
        self._report()

    def _rests(self) -> bool:
        """Wait for a moment; return False if the engine does not wait for this module any more."""
        until_s = time.monotonic() + _STEP_USEC / 2e6
        self.context.serve_for(_STEP_USEC, _STEP_USEC)
        return time.monotonic() >= until_s

    def close(self) -> None:
        """Disconnect."""
        self._closing = True
        if self._session is not None:
            self._session.close()

    def _now_ns(self) -> int:
        """Return when the item that is sent now was sent at its source, on this host's clock."""
        clock = self.context.clock
        return time.monotonic_ns() - (clock.now_usec() - self._sent_usec) * 1000

    def _wait_for_meta(self, wait_s: float, *, final: bool) -> bool:
        """Ask for metadata until they are there; return whether they are."""
        end_s, asked_s = time.monotonic() + wait_s, -_ASK_S
        while True:
            meta = self._meta
            if meta is not None and (meta.final or not final):
                self._port.metadata.update(decode_metadata(meta.data))
                return True
            now_s = time.monotonic()
            if now_s >= asked_s + _ASK_S:
                asked_s = now_s
                self._acknowledge(wants_meta=True)
            if now_s >= end_s or self.context.stop_asked:
                return False
            self.context.serve_for(_STEP_USEC, _STEP_USEC)

    def _on_message(self, sample: Any) -> None:
        """Take what has come; in a thread of Zenoh."""
        try:
            message = read_down(bytes(sample.payload))
        except (msgspec.MsgspecError, RecursionError):
            self.refused += 1
            return
        self._moved_s = time.monotonic()
        if isinstance(message, Meta):
            if self._meta is None or message.final:
                self._meta = message
            self._unacknowledged += 1  # the source sees that this end is there
            return
        try:
            with self._lock:
                if self._held is None:
                    self._take(message)
                elif len(self._held) < _MOST_HELD:
                    self._held.append(message)
        except Exception as error:  # noqa: BLE001 - the run has to know of it
            if not self._closing:
                self.context.fail(error)
            return
        if self._unacknowledged >= _ACK_EVERY or self._inbox.ended or self._acks_each:
            self._acknowledge()

    def _take(self, packet: Packet) -> None:
        found = self._inbox.take(packet)
        self._unacknowledged += 1
        for each in found:
            if isinstance(each, int):
                self._port.note_lost(each)
            else:
                self._submit(each)

    def _submit(self, item: Item) -> None:
        try:
            decoded = self._decode(item.body)
        except ValueError as error:
            self._unreadable += 1
            self._port.note_lost(1)
            if self._unreadable == 1:
                self.log.warning("an item cannot be read, and is lost: %s", error)
            return
        self._sent_usec = item.sent_usec
        self._port.submit(decoded)

    def _acknowledge_if_due(self) -> None:
        if self._unacknowledged:
            self._acknowledge()

    def _acknowledge(self, *, wants_meta: bool = False) -> None:
        with self._lock:
            self._unacknowledged = 0
            message = encode(self._inbox.ack(wants_meta=wants_meta))
        try:
            self._publisher.put(message)
        except zenoh_module().ZError as error:
            if not self._closing:
                self.context.fail(
                    HostError(f"the link to other hosts has failed: {error}",
                              remedy="Look at its agent.")
                )  # fmt: skip

    def _report(self) -> None:
        """Report the account of this end."""
        bridge = self.settings.bridge
        self.context.report("received", self._inbox.received - self._unreadable)
        self.context.report("lost", self._inbox.lost + self._unreadable)
        if self.refused:
            self.context.report("refused_messages", self.refused)
        if not self._inbox.ended:
            self.context.note_loss(
                f"the end of {bridge.stream} did not come from {bridge.source}: how many items are "
                f"missing after the {self._inbox.received} that came is not known here",
                f"Look at the connection to {bridge.source}, and at its part of the recording.",
            )
