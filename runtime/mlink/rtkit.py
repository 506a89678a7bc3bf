"""Client of rtkit, the desktop's service that grants real-time priority, over D-Bus.

rtkit grants it to a thread only when RLIMIT_RTTIME bounds the time that the process may use a
processor without a pause (RTTimeUSecMax), and when children of the thread start as ordinary ones
(SCHED_RESET_ON_FORK). Interface: org.freedesktop.RealtimeKit1.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any, Protocol

NAME = "org.freedesktop.RealtimeKit1"
PATH = "/org/freedesktop/RealtimeKit1"
REPLY_TIMEOUT_SEC = 1.0
"""rtkit replies within ms; a bus that hangs must not delay a run for longer."""
_LIKELY_LIMIT_USEC = 200_000
"""Default of rtkit's RTTimeUSecMax, in µs."""


class BusConnection(Protocol):
    """The part of jeepney's blocking connection that is used here."""

    def send_and_get_reply(self, message: Any, *, timeout: float | None = None) -> Any:
        """Send a call and return its reply."""

    def close(self) -> None:
        """Close the connection."""


class RtkitUnavailableError(Exception):
    """rtkit is not available, or has refused; the message has the reason."""


class RtkitRefusedError(RtkitUnavailableError):
    """rtkit has replied with an error."""


def make_thread_realtime(
    thread_id: int,
    priority: int,
    *,
    connect: Callable[[], BusConnection] | None = None,
    set_limit: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> int:
    """Request a real-time priority for a thread of this process.

    Args:
        thread_id: Its id in the kernel (`threading.get_native_id`).
        priority: Wanted priority, 1 to 99.
        connect: Returns a connection to the system bus; None uses jeepney.
        set_limit: Sets a resource limit of the process.

    Returns:
        The granted priority, which may be lower.

    Raises:
        RtkitUnavailableError: rtkit is not available, or has refused.
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
    """Return the highest priority that rtkit grants.

    Raises:
        RtkitUnavailableError: rtkit is not available.
    """
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
    """Call a method of rtkit's object and return the body of the reply."""
    from jeepney import DBusAddress, DBusErrorResponse, MessageType, new_method_call

    address = DBusAddress(PATH, bus_name=NAME, interface=interface)
    message = new_method_call(address, method, signature, body)
    try:
        reply = bus.send_and_get_reply(message, timeout=REPLY_TIMEOUT_SEC)
    except (DBusErrorResponse, OSError, TimeoutError) as error:
        raise RtkitUnavailableError(f"rtkit does not reply ({error})") from error
    if reply.header.message_type is MessageType.error:
        reason = reply.body[0] if reply.body else "no reason given"
        raise RtkitRefusedError(f"rtkit has refused ({reason})")
    return reply.body


def _property(bus: BusConnection, name: str, default: int) -> int:
    """Return one of rtkit's limits, or `default` when this version does not have it."""
    try:
        body = _call(bus, "org.freedesktop.DBus.Properties", "Get", "ss", (NAME, name))
        return int(body[0][1])
    except RtkitRefusedError as error:
        if "UnknownProperty" not in str(error):
            raise
    except RtkitUnavailableError:
        pass  # no reply; the request for the priority itself will show that
    return default


def _limit_rttime(longest_usec: int, set_limit: Callable[[int, tuple[int, int]], None]) -> None:
    """Limit the time that real-time threads may run without a pause, as rtkit requires."""
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    allowed = longest_usec if hard == resource.RLIM_INFINITY else min(longest_usec, hard)
    try:
        set_limit(resource.RLIMIT_RTTIME, (allowed, allowed))
    except (OSError, ValueError) as error:
        raise RtkitUnavailableError(f"RLIMIT_RTTIME cannot be set ({error})") from error
