"""Calls between hosts: two sessions of this process, without keys, over loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest

from mlink.errors import DeviceError, HostError
from mlink.hosts.link.calls import MOST_CALL_BYTES, Calls, Message, Service
from mlink.hosts.link.keys import call_key, run_key
from mlink.hosts.link.session import HostSession


class Add(Message, frozen=True):
    left: int
    right: int


class Sum(Message, frozen=True):
    value: int


class Fail(Message, frozen=True):
    how: str


class Blob(Message, frozen=True):
    data: bytes


def fail(request: Fail) -> Sum:
    if request.how == "device":
        raise DeviceError("no board at /dev/ttyACM0", remedy="Plug it in.")
    raise ZeroDivisionError("by zero")


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{probe.getsockname()[1]}"


def payload_of(replies: Iterable[Any]) -> bytes:
    return bytes(next(iter(replies)).ok.payload)


HANDLERS = {
    Add: lambda request: Sum(request.left + request.right),
    Fail: fail,
    Blob: lambda request: Blob(request.data * 2),
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    where = free_endpoint()
    with HostSession(listen=[where]) as session, Service(session, "chamber", HANDLERS):
        yield where


@pytest.fixture(scope="module")
def session(endpoint: str) -> Iterator[HostSession]:
    with HostSession(connect=[endpoint]) as session:
        yield session


@pytest.fixture
def calls(session: HostSession) -> Calls:
    return Calls(session)


def test_a_host_answers_what_it_is_asked(calls: Calls) -> None:
    assert calls.ask("chamber", Add(2, 3), Sum, 10) == Sum(5)


def test_an_error_of_the_other_end_comes_back_with_its_host_and_remedy(calls: Calls) -> None:
    with pytest.raises(HostError) as caught:
        calls.ask("chamber", Fail("device"), Sum, 10)
    assert caught.value.message == "host chamber: no board at /dev/ttyACM0"
    assert (caught.value.host, caught.value.remedy) == ("chamber", "Plug it in.")


def test_a_fault_of_a_handler_is_an_answer_and_the_service_goes_on(calls: Calls) -> None:
    with pytest.raises(HostError, match="Fail failed: ZeroDivisionError: by zero"):
        calls.ask("chamber", Fail("fault"), Sum, 10)
    assert calls.ask("chamber", Add(1, 1), Sum, 10) == Sum(2)


def test_a_host_that_is_not_there_is_said_after_the_time_given(calls: Calls) -> None:
    with pytest.raises(HostError, match="host attic is not there") as caught:
        calls.ask("attic", Add(1, 1), Sum, 0.05)
    assert "mlink agent" in caught.value.remedy


def test_too_large_requests_are_not_sent_and_too_large_answers_are_refused(calls: Calls) -> None:
    with pytest.raises(HostError, match=r"Blob .* host chamber has 4.2 MB; at most 4.2 MB"):
        calls.ask("chamber", Blob(bytes(MOST_CALL_BYTES)), Blob, 10)
    with pytest.raises(HostError, match=f"at most {MOST_CALL_BYTES} are sent"):
        calls.ask("chamber", Blob(bytes(3 << 20)), Blob, 10)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1garbage", msgspec.msgpack.encode({"type": "Unknown"}), b"\x91" * 100_000],
    ids=["empty", "no msgpack", "of another type", "deep"],
)
def test_garbage_is_refused_in_words(session: HostSession, calls: Calls, payload: bytes) -> None:
    calls.ask("chamber", Add(1, 1), Sum, 10)
    replies = session.zenoh.get(call_key("chamber"), payload=payload, timeout=10)
    answer = msgspec.msgpack.decode(payload_of(replies))
    assert answer["type"] == "Refused"
    assert answer["message"].startswith("a request")


def test_two_hosts_of_one_name_are_refused(endpoint: str, session: HostSession) -> None:
    with (
        HostSession(connect=[endpoint]) as one,
        HostSession(connect=[endpoint]) as two,
        Service(one, "twin", HANDLERS),
        Service(two, "twin", HANDLERS),
    ):
        while len(session.presence.named("twin")) < 2:
            assert session.presence.wait_for_change(10)
        with pytest.raises(HostError, match="2 hosts have the name twin"):
            Calls(session).ask("twin", Add(1, 1), Sum, 10)


def test_another_version_is_refused_in_words(
    endpoint: str, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlink.hosts.link.calls.mlink_version", lambda: "9.1")
    with HostSession(connect=[endpoint]) as session, Service(session, "newer", HANDLERS):
        monkeypatch.undo()
        with pytest.raises(HostError, match=r"host newer has mlink 9\.1, and this one has"):
            calls.ask("newer", Add(1, 1), Sum, 10)


def test_a_service_that_ends_takes_its_host_away(endpoint: str, session: HostSession) -> None:
    with HostSession(connect=[endpoint]) as other:
        with Service(other, "guest", HANDLERS):
            assert session.presence.wait_for("guest", 10)
        while session.presence.named("guest"):
            assert session.presence.wait_for_change(10)


def test_requests_beyond_the_bound_are_refused_at_once(endpoint: str) -> None:
    release = threading.Event()

    def wait(request: Add) -> Sum:
        assert request.left == 0 or release.wait(30)
        return Sum(request.left)

    with (
        HostSession(connect=[endpoint]) as slow,
        HostSession(connect=[endpoint]) as asking,
        Service(slow, "slow", {Add: wait}) as service,
    ):
        Calls(asking).ask("slow", Add(0, 0), Sum, 10)
        payload = msgspec.msgpack.encode(Add(1, 1))
        asked = [
            asking.zenoh.get(call_key("slow"), payload=payload, timeout=60) for _ in range(100)
        ]
        while service.refused < 100 - 65:
            assert not release.wait(0.01)
        release.set()
        answers = [str(msgspec.msgpack.decode(payload_of(replies))["type"]) for replies in asked]
    assert answers.count("Refused") == service.refused
    assert 35 <= service.refused <= 36  # one may have been taken from the queue already


def test_a_request_that_is_sent_twice_is_handled_once(endpoint: str) -> None:
    handled: list[int] = []

    def count(request: Add) -> Sum:
        handled.append(request.left)
        return Sum(len(handled))

    with (
        HostSession(connect=[endpoint]) as other,
        HostSession(connect=[endpoint]) as asking,
        Service(other, "counter", {Add: count}),
    ):
        calls = Calls(asking)
        assert calls.ask("counter", Add(0, 0), Sum, 10) == Sum(1)
        payload = msgspec.msgpack.encode(Add(7, 0))
        answers = [
            payload_of(
                asking.zenoh.get(
                    call_key("counter"), payload=payload, attachment=bytes(16), timeout=10
                )
            )
            for _ in range(2)
        ]
        assert answers[0] == answers[1] == msgspec.msgpack.encode(Sum(2))
        assert calls.ask("counter", Add(8, 0), Sum, 10) == Sum(3)
    assert handled == [0, 7, 8]


def test_a_port_in_use_is_said_in_words(endpoint: str) -> None:
    with pytest.raises(HostError, match="another program listens there") as caught:
        HostSession(listen=[endpoint])
    assert endpoint in caught.value.message


def test_an_endpoint_that_is_none_is_said_in_words() -> None:
    with pytest.raises(HostError, match="no session between hosts at nonsense"):
        HostSession(listen=["nonsense"])


@pytest.mark.parametrize("name", ["", "a/b", "Chamber", "-a", "a-", "x" * 64, "a*", "ä"])
def test_names_that_no_host_can_have(session: HostSession, name: str) -> None:
    with pytest.raises(HostError, match="cannot be the name of a host"):
        Service(session, name, HANDLERS)


def test_parts_of_keys_are_escaped() -> None:
    assert run_key("12ab", "cam@pi", "a/b*c%") == "mlink/1/run/12ab/cam@pi/a%2fb%2ac%25"
