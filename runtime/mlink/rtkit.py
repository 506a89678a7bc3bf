"""Asks rtkit, the desktop's service that hands out real-time priority, over D-Bus.

rtkit makes a thread real-time only when its process may not use a processor without a pause for
longer than rtkit allows (RLIMIT_RTTIME), and when its children start as ordinary threads.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any, Protocol

NAME = "org.freedesktop.RealtimeKit1"
PATH = "/org/freedesktop/RealtimeKit1"
REPLY_TIMEOUT_SEC = 1.0
"""rtkit answers within milliseconds; a bus that hangs must not hold up a run."""
_LIKELY_LIMIT_USEC = 200_000
"""What rtkit allows by default without a pause, in µs."""


class BusConnection(Protocol):
    """The part of jeepney's blocking connection that is used here."""

    def send_and_get_reply(self, message: Any, *, timeout: float | None = None) -> Any:
        """Send a call and return its answer."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class RtkitUnavailableError(Exception):
    """rtkit cannot be asked, or said no; the message says why."""


def make_thread_realtime(
    thread_id: int,
    priority: int,
    *,
    connect: Callable[[], BusConnection] | None = None,
    set_limit: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> int:
    """Return the real-time priority that rtkit gave a thread of this process.

    It may be lower than the one asked for. Raises RtkitUnavailableError.
    """
    bus = _connect(connect)
    try:
        highest = _property(bus, "MaxRealtimePriority", 20)
        longest_usec = _property(bus, "RTTimeUSecMax", _LIKELY_LIMIT_USEC)
        _limit_rttime(longest_usec, set_limit)
        given = max(1, min(priority, highest))
        _call(bus, NAME, "MakeThreadRealtime", "tu", (thread_id, given))
    finally:
        bus.close()
    return given


def highest_priority(*, connect: Callable[[], BusConnection] | None = None) -> int:
    """Return the highest priority that rtkit gives; RtkitUnavailableError when it is not there."""
    bus = _connect(connect)
    try:
        return int(_call(bus, "org.freedesktop.DBus.Properties", "Get", "ss",
                         (NAME, "MaxRealtimePriority"))[0][1])  # fmt: skip
    finally:
        bus.close()


def _connect(connect: Callable[[], BusConnection] | None) -> BusConnection:
    try:
        return (connect or _system_bus)()
    except ImportError as error:
        raise RtkitUnavailableError(f"jeepney is not installed ({error})") from error
    except Exception as error:
        # No bus at all, a refused login, a bad address: jeepney raises errors of many kinds.
        raise RtkitUnavailableError(f"there is no system bus ({error})") from error


def _system_bus() -> BusConnection:
    from jeepney.io.blocking import open_dbus_connection

    connection: BusConnection = open_dbus_connection(bus="SYSTEM")
    return connection


def _call(bus: BusConnection, interface: str, method: str, signature: str, body: Any) -> Any:
    """Call a method of rtkit's one object and return the body of its answer."""
    from jeepney import DBusAddress, DBusErrorResponse, MessageType, new_method_call

    address = DBusAddress(PATH, bus_name=NAME, interface=interface)
    message = new_method_call(address, method, signature, body)
    try:
        reply = bus.send_and_get_reply(message, timeout=REPLY_TIMEOUT_SEC)
    except (DBusErrorResponse, OSError, TimeoutError) as error:
        raise RtkitUnavailableError(f"rtkit does not answer ({error})") from error
    if reply.header.message_type is MessageType.error:
        reason = reply.body[0] if reply.body else "no reason given"
        raise RtkitUnavailableError(f"rtkit said no ({reason})")
    return reply.body


def _property(bus: BusConnection, name: str, default: int) -> int:
    """Return one of rtkit's limits, or its usual value when this rtkit does not tell it."""
    try:
        body = _call(bus, "org.freedesktop.DBus.Properties", "Get", "ss", (NAME, name))
        return int(body[0][1])
    except RtkitUnavailableError as error:
        if "said no" in str(error) and "UnknownProperty" not in str(error):
            raise
        return default


def _limit_rttime(longest_usec: int, set_limit: Callable[[int, tuple[int, int]], None]) -> None:
    """Let the kernel end real-time threads of ours that never pause, as rtkit demands."""
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    allowed = longest_usec if hard == resource.RLIM_INFINITY else min(longest_usec, hard)
    try:
        set_limit(resource.RLIMIT_RTTIME, (allowed, allowed))
    except (OSError, ValueError) as error:
        raise RtkitUnavailableError(f"RLIMIT_RTTIME cannot be set ({error})") from error
