"""rtkit is asked over D-Bus for a thread's priority; here over a made-up bus."""

from __future__ import annotations

import resource
import threading

import pytest

from mlink import rtkit
from mlink.realtime import SystemCalls
from mlink.rtkit import RtkitUnavailableError, highest_priority, make_thread_realtime

jeepney = pytest.importorskip("jeepney")


class FakeBus:
    """Answers as rtkit does; `errors` names the methods that it refuses."""

    def __init__(self, *, highest=20, longest_usec=200_000, errors=()):
        self.properties = {
            "MaxRealtimePriority": ("i", highest),
            "RTTimeUSecMax": ("x", longest_usec),
        }
        self.errors = set(errors)
        self.calls = []
        self.closed = False

    def send_and_get_reply(self, message, *, timeout=None):
        assert timeout is not None, "a bus that hangs must not hold up a run"
        fields = message.header.fields
        method = fields[jeepney.HeaderFields.member]
        self.calls.append((method, message.body))
        if method in self.errors:
            reply = jeepney.new_error(message, "org.freedesktop.DBus.Error.AccessDenied")
        elif method == "Get":
            value = self.properties[message.body[1]]
            reply = jeepney.new_method_return(message, "v", (value,))
        else:
            reply = jeepney.new_method_return(message)
        return reply

    def close(self):
        self.closed = True


def test_the_thread_is_named_with_the_priority_asked_for():
    bus, limits = FakeBus(), []
    thread_id = threading.get_native_id()
    given = make_thread_realtime(
        thread_id, 15, connect=lambda: bus, set_limit=lambda *limit: limits.append(limit)
    )
    assert given == 15
    assert bus.calls[-1] == ("MakeThreadRealtime", (thread_id, 15))
    assert bus.closed


def test_rtkits_limits_are_kept():
    bus, limits = FakeBus(highest=9, longest_usec=100_000), []
    given = make_thread_realtime(
        1, 15, connect=lambda: bus, set_limit=lambda *limit: limits.append(limit)
    )
    assert given == 9
    assert limits == [(resource.RLIMIT_RTTIME, (100_000, 100_000))]


@pytest.mark.parametrize("method", ["Get", "MakeThreadRealtime"])
def test_a_refusal_is_reported_and_the_bus_closed(method):
    bus = FakeBus(errors=[method])
    with pytest.raises(RtkitUnavailableError, match="has refused"):
        make_thread_realtime(1, 15, connect=lambda: bus, set_limit=lambda *_: None)
    assert bus.closed


def test_a_machine_without_a_system_bus_has_no_rtkit():
    def no_bus():
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(RtkitUnavailableError, match="no system bus"):
        highest_priority(connect=no_bus)


def test_a_bus_that_hangs_is_given_up():
    bus = FakeBus()

    def hang(message, *, timeout=None):
        raise TimeoutError

    bus.send_and_get_reply = hang
    with pytest.raises(RtkitUnavailableError, match="does not reply"):
        highest_priority(connect=lambda: bus)


def test_without_rtkit_the_next_best_is_tried(monkeypatch):
    def unavailable(thread_id, priority):
        raise RtkitUnavailableError("there is no system bus")

    monkeypatch.setattr(rtkit, "make_thread_realtime", unavailable)
    assert SystemCalls().ask_rtkit(1, 15) == 0
