"""The bench's policies for a board that is lost or restarts in a run: on_loss, on_reconnect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from mlink.errors import DeviceError
from mlink.module import ModuleContext
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.lines.output.commands import LineCommands
from mlink_drivers.firmata.lines.rows import EventRows
from mlink_drivers.firmata.link.local import shown
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.reconnect import LinkState, Reconnect
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire import encode
from mlink_drivers.identity import PortIdentity, find_again

_REMEDY: Final = "Check the cable, the hub and the board's power supply, then start again."
_NOTED_NS: Final = 1_000_000
_GAP_NS: Final = 1_000_000_000
"""While a board is away its missing readings are noted in these steps: tests wait for readings."""
_BOOT_NS: Final = 10_000_000
"""Bytes of a restarted board that arrive this long before its name belong to the new start."""


class Recovery:
    """Fails the run on a loss, or reconnects the board and restores its state.

    The methods are called in calls of the session's `Waiting` or by who noticed the loss.

    Args:
        session: The connection to the board.
        commands: Restores modes and values.
        events: The table of events.
        settings: The module's settings.
        spec: The device as the bench has it.
        identity: The USB identity of the board's port; None where it has none.
        connect: Prepares a reopened board, before its state is restored.
        fail: Fails the run.
        set_status: Sets the module's status line.
        log: The module's log.
        note_away: Called while the board is away, with the time in ns since the last such call or
            the last sign of life; no readings are of that time.
        find: Returns the present address of a device, None while it is away.
    """

    def __init__(
        self,
        session: Session,
        commands: LineCommands,
        events: EventRows,
        settings: FirmataSettings,
        *,
        spec: str,
        identity: PortIdentity | None,
        connect: Callable[[], None] = lambda: None,
        fail: Callable[[BaseException], None],
        set_status: Callable[[str], None],
        log: logging.Logger,
        note_away: Callable[[int], None] = lambda _ns: None,
        find: Callable[[str, PortIdentity | None], str | None] = find_again,
    ) -> None:
        self.reconnects = 0
        self.unproven = 0
        """Messages to a board that was lost since its last sign of life."""
        self.noted_ns = 0
        """Until when missing readings were noted."""
        self._away_ns = 0
        self._note_away = note_away
        self._session = session
        self._commands = commands
        self._events = events
        self._settings = settings
        self._connect = connect
        self._fail = fail
        self._set_status = set_status
        self._log = log
        self._lost_ns = 0
        """When the lost board gave its last sign of life; 0 while it is there."""
        self._restarted_ns: int | None = None
        """When a restarted board began to report that."""

        def look() -> str | None:
            if session.waiting.now_ns() - self.noted_ns >= _GAP_NS:
                self._note_gap()
            return find(spec, identity)

        self._reconnect = Reconnect(
            look,
            self._reopen,
            self._on_state,
            waiting=session.waiting,
        )

    @property
    def state(self) -> LinkState:
        """State of the link to the board."""
        return self._reconnect.state

    def on_lost(self, error: DeviceError) -> None:
        """Handle a lost board."""
        sign_ns = self._count_unproven()
        if self._settings.on_loss == "continue":
            self._reconnect.lost(error.message)
            return
        self._note_gap(sign_ns)
        self._events.note("lost", self._since(error.message, sign_ns))
        lost = DeviceError(f"board {self._session.name} lost: {error.message}", remedy=error.remedy)
        lost.__cause__ = error
        self._fail(lost)

    def on_restarted(self, arrival_ns: int) -> None:
        """Handle a board that has restarted and so lost its modes and values.

        Args:
            arrival_ns: When its first message came (ns of CLOCK_MONOTONIC).
        """
        self._restarted_ns = arrival_ns - _BOOT_NS
        error = DeviceError(
            f"board {self._session.name} restarted during the run and lost its line settings",
            remedy="Check its power supply and its reset line, then start again.",
        )
        if self._settings.on_loss == "continue":
            self._session.drop(error)
        else:
            sign_ns = self._count_unproven()
            self._note_gap(sign_ns)
            self._events.note("restarted", self._since("", sign_ns))
            self._fail(error)

    def finish(self) -> None:
        """Note what is missing of a board that is still away: the stream of readings ends."""
        if self._lost_ns:
            self._note_gap()

    def report(self, context: ModuleContext[FirmataSettings]) -> None:
        """Report the losses for the run's summary."""
        if self.reconnects:
            context.report("reconnects", self.reconnects)
        away_ns = self._away_ns
        if self._lost_ns:
            away_ns += self._session.waiting.now_ns() - self._lost_ns
        if away_ns:
            away_s = round(away_ns / 1e9, 1)
            context.report("board_away_sec", away_s)
            context.note_loss(
                f"{self._session.name} was away for {away_s} s"
                + (", until the end" if self._lost_ns else "")
                + ": its readings of that time are missing",
                "Check its cable and its supply.",
            )
        if self.unproven:
            context.report("messages_unproven", self.unproven)
            context.note_loss(
                f"{self.unproven} message(s) were sent to {self._session.name} after its last sign"
                " of life before it was lost: it may not have executed them",
                "Check its cable and its supply.",
            )

    def close(self) -> None:
        """Stop searching for the board."""
        self._reconnect.close(self._session.close)

    def _note_gap(self, from_ns: int = 0) -> None:
        now_ns = self._session.waiting.now_ns()
        if now_ns - self.noted_ns < _NOTED_NS:
            return
        self._note_away(now_ns - max(from_ns, self.noted_ns))
        self.noted_ns = now_ns

    def _count_unproven(self) -> int:
        """Count the messages since the last sign of life; return the time of that."""
        sign_ns = self._last_sign_ns()
        self.unproven += self._commands.take_unproven(sign_ns)
        return sign_ns

    def _last_sign_ns(self) -> int:
        return self._session.signs.last_ns(self._restarted_ns)

    def _since(self, detail: str, sign_ns: int) -> str:
        """Return a text for the table of events, with the time of the last sign of life."""
        sign = f"last sign of life at {max(0, self._events.time_usec(sign_ns))} µs"
        return f"{detail}; {sign}" if detail else sign

    def _reopen(self, address: str) -> None:
        """Open the board at its present address and restore it."""
        self._session.reconnect(open_transport(address, self._settings.baud_rate))
        if self._settings.on_reconnect == "stop":
            return
        self._connect()
        self._session.send(encode.sampling_interval(self._settings.sampling_interval_msec))
        rest_values: Mapping[int, int] | None = None
        if self._settings.on_reconnect == "safe":
            rest_values = {int(line): value for line, value in self._settings.safe_values.items()}
        self._commands.replay(rest_values)

    def _on_state(self, state: LinkState, detail: str) -> None:
        name = self._session.name
        if state is not LinkState.LOST:
            detail = shown(detail)
        if state is LinkState.CONNECTED:
            self._on_back(detail)
        elif state is LinkState.REOPENING:
            self._events.note("reopening", detail)
            self._set_status(f"reopening {detail}")
        elif self._lost_ns:
            self._log.warning("%s is not back yet: %s", name, detail)
            self._events.note("refused", detail)
            self._set_status(f"lost: {detail}")
        else:
            self._lost_ns = sign_ns = self._last_sign_ns()
            self._note_gap(sign_ns)
            self._log.warning(
                "%s lost: %s; its last sign of life was %.1f s before; no readings until it is"
                " back",
                name,
                detail,
                (self._session.waiting.now_ns() - sign_ns) / 1e9,
            )
            self._events.note("lost", self._since(detail, sign_ns))
            self._set_status(f"lost: {detail}")

    def _on_back(self, address: str) -> None:
        self._note_gap()
        gap_ns = self._session.waiting.now_ns() - self._lost_ns
        self._away_ns += gap_ns
        gap_usec = gap_ns // 1000
        self._lost_ns, self._restarted_ns = 0, None
        self.reconnects += 1
        policy = self._settings.on_reconnect
        self._log.warning(
            "%s is back at %s after %.1f s (%s)",
            self._session.name,
            address,
            gap_usec / 1e6,
            policy,
        )
        self._events.note("connected", f"{address}, {policy}, gap {gap_usec} µs")
        self._set_status(str(self._session.description))
        if policy == "stop":
            self._fail(
                DeviceError(
                    f"board {self._session.name} was away for {gap_usec / 1e6:.1f} s and is back;"
                    ' on_reconnect = "stop" ends the run',
                    remedy=_REMEDY,
                )
            )
