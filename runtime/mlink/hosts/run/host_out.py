"""Sends a stream to another host.

The module's main thread takes items and never waits for the link: a thread of its own sends, which
alone stands still when the link does. What then finds no room in the bounded outbox is counted.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import msgspec

from mlink.context import ModuleContext
from mlink.errors import MlinkError
from mlink.hosts.link.keys import run_key
from mlink.hosts.link.session import HostSession, zenoh_module
from mlink.hosts.run.bridge import STREAM, BridgeSettings
from mlink.hosts.run.items import item_encoder
from mlink.hosts.run.window import Item, Meta, Outbox, encode, read_up
from mlink.metadata import encode_metadata
from mlink.module import Module
from mlink.transport.codec import TIMED, is_small

_SMALL: Final = (50_000, 16 << 20)
_LARGE: Final = (2_000, 128 << 20)
"""Items, and their bytes, that wait or are not acknowledged: some seconds of a stream."""
_TICK_S: Final = 0.1
_TICK_USEC: Final = 100_000
_ALIVE_S: Final = 1.0
"""While it has nothing to send it repeats the metadata at this interval: the other end waits."""
_JOIN_S: Final = 2.0
_STEP_USEC: Final = 20_000


class HostOut(Module[BridgeSettings]):
    """One stream to one host."""

    def __init__(self, context: ModuleContext[BridgeSettings]) -> None:
        super().__init__(context)
        bridge = self.settings.bridge
        self._port = context.inputs[STREAM]
        self._encode = item_encoder(bridge.data_type, bridge.codec)
        self._is_timed = bridge.data_type in TIMED
        items, size = _SMALL if is_small(bridge.data_type) else _LARGE
        self._box = Outbox(most_items=items, most_bytes=size, newest=bridge.policy == "newest")
        self._changed = threading.Condition()
        self._meta: bytes | None = None
        self._meta_is_final = False
        self._meta_is_due = False
        self._sent_s = 0.0
        self._closing = False
        self._session: HostSession | None = None
        self._publisher: Any = None
        self._subscriber: Any = None
        self._sender = threading.Thread(target=self._send_all, name="to-host", daemon=True)
        self.refused = 0
        """Messages of the other end that were none."""

    def prepare(self) -> None:
        """Connect, and offer the metadata to the other end."""
        link, zenoh = self.settings.link, zenoh_module()
        self._session = HostSession(connect=[link.endpoint], mode="client")
        small = is_small(self.settings.bridge.data_type)
        self._publisher = self._session.zenoh.declare_publisher(
            run_key(link.run, *self.settings.key, "down"),
            congestion_control=zenoh.CongestionControl.BLOCK,
            priority=zenoh.Priority.INTERACTIVE_HIGH if small else zenoh.Priority.DATA,
            express=small,
        )
        self._subscriber = self._session.zenoh.declare_subscriber(
            run_key(link.run, *self.settings.key, "up"), self._on_ack
        )
        self._offer_meta(final=False)
        self._port.on_item = self._on_item
        self._sender.start()

    def start(self) -> None:
        """Send the metadata, which do not change any more."""
        self._offer_meta(final=True)

    def run(self) -> None:
        """Pass items on until the stop."""
        while self.context.running:
            self.context.serve(_TICK_USEC)
            self._show()

    def stop(self) -> None:
        """Send the end, and wait until the other end has all, or nothing moves any more."""
        with self._changed:
            self._box.end(self._port.taken)
            self._changed.notify()
        before, moved_s = self._box.ack, time.monotonic()
        while not self._box.has_ended and time.monotonic() - moved_s < self.settings.link.end_s:
            until_s = time.monotonic() + _STEP_USEC / 2e6
            self.context.serve_for(_STEP_USEC, _STEP_USEC)
            if time.monotonic() < until_s:
                break  # the engine does not wait for this module any more
            if (ack := self._box.ack) is not before:
                before, moved_s = ack, time.monotonic()
        self._report()

    def close(self) -> None:
        """Disconnect."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._session is not None:
            self._session.close()  # a sender that stands still goes on
        if self._sender.ident is not None:
            self._sender.join(_JOIN_S)

    def _offer_meta(self, *, final: bool) -> None:
        with self._changed:
            self._meta = encode_metadata(self._port.metadata)
            self._meta_is_final, self._meta_is_due = final, True
            self._changed.notify()

    def _on_item(self, item: Any) -> None:
        clock, sent_usec = self.context.clock, 0
        if self._is_timed:
            sent_usec = clock.from_monotonic_ns(self._port.sent_ns)
        packed = Item(self._port.taken - 1, sent_usec, self._encode(item))
        with self._changed:
            self._box.offer(packed)
            self._changed.notify()

    def _on_ack(self, sample: Any) -> None:
        """Take an acknowledgement; in a thread of Zenoh."""
        try:
            ack = read_up(bytes(sample.payload))
        except msgspec.MsgspecError:
            self.refused += 1
            return
        with self._changed:
            self._box.acknowledge(ack, time.monotonic())
            self._meta_is_due |= ack.wants_meta
            self._changed.notify()

    def _send_all(self) -> None:
        """Run the sending thread."""
        try:
            while True:
                with self._changed:
                    messages = self._due()
                    if self._closing:
                        return
                    if not messages:
                        self._changed.wait(_TICK_S)
                        continue
                for message in messages:
                    self._publisher.put(message)
        except Exception as error:  # noqa: BLE001 - of Zenoh: the run has to know
            if not self._closing:
                self.context.fail(_as_mlink_error(error))

    def _due(self) -> list[bytes]:
        messages: list[bytes] = []
        now_s = time.monotonic()
        packets = self._box.due(now_s)
        is_idle = not packets and now_s - self._sent_s > _ALIVE_S
        if (self._meta_is_due or is_idle) and self._meta is not None and not self._closing:
            self._meta_is_due = False
            messages.append(encode(Meta(self._meta, self._meta_is_final)))
        messages += [encode(packet) for packet in packets]
        self._sent_s = now_s if messages else self._sent_s
        return messages

    def _show(self) -> None:
        left = self._box.left
        host = self.settings.bridge.target
        self.context.set_status(f"{left} on the way to {host}" if left else "")

    def _report(self) -> None:
        """Report the account of this end, and what did not reach the other one."""
        box, bridge = self._box, self.settings.bridge
        report = self.context.report
        report("taken", self._port.taken)
        report("dropped", box.dropped)
        report("resent_packets", box.resent)
        if self.refused:
            report("refused_messages", self.refused)
        if not box.has_ended:
            self.context.note_loss(
                f"{bridge.target} did not acknowledge the end of {bridge.stream}: {box.left} items "
                f"may be lost, {box.dropped} are",
                f"Look at the connection to {bridge.target}.",
            )
            report("unacknowledged", box.left)
        elif (lost := box.ack.lost) and bridge.policy != "newest":
            self.context.note_loss(
                f"{lost} items of {bridge.stream} did not reach {bridge.target}: "
                f"{box.dropped} found no room while the link was slow or cut",
                "Send less: by JPEG, smaller or fewer frames; or use a faster link.",
            )


def _as_mlink_error(error: Exception) -> BaseException:
    if isinstance(error, MlinkError):
        return error
    from mlink.errors import HostError

    return HostError(f"the link to other hosts has failed: {error}", remedy="Look at its agent.")
