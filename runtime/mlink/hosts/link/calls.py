"""Calls from host to host: a request, its answer, or why there is none."""

from __future__ import annotations

import contextlib
import functools
import logging
import operator
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from mlink.closing import ClosesOnExit
from mlink.errors import HostError, MlinkError
from mlink.hosts.link.keys import PROTOCOL, alive_key, call_key, check_host_name
from mlink.hosts.link.session import HostSession, zenoh_module

if TYPE_CHECKING:
    import zenoh

MOST_CALL_BYTES: Final = 4 << 20
"""Size of the largest request and of the largest answer, in bytes."""
_MOST_WAITING: Final = 64
"""Requests that wait for the service's thread; further ones are refused."""
_MOST_REPEATED: Final = 64
_MOST_REPEATED_BYTES: Final = 8 << 20
"""Answers that are kept, to be repeated when their connection was lost: their number and size."""
_ID_BYTES: Final = 16
_AGAIN_S: Final = 0.05
_JOIN_S: Final = 5.0
_LEAST_S: Final = 0.2

log = logging.getLogger("mlink.hosts")


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of requests and answers; msgpack, tagged by the class's name."""


class Refused(Message, frozen=True, tag="Refused"):
    """Answer of a host that does not do what it was asked for."""

    message: Annotated[str, msgspec.Meta(max_length=4000)]
    remedy: Annotated[str, msgspec.Meta(max_length=4000)] = ""


A = TypeVar("A", bound=Message)


def mlink_version() -> str:
    """Return the version of mlink here, which the hosts of a run have in common."""
    import mlink

    return mlink.__version__


class Calls:
    """Asks other hosts.

    Args:
        session: An open session. It must stay open while calls are made.
    """

    def __init__(self, session: HostSession) -> None:
        self._session = session

    def ask(self, host: str, request: Message, answer: type[A], timeout_s: float) -> A:
        """Ask a host, and return its answer. It handles the request once at most.

        A query that no host was found for, or whose connection was lost, has no reply. It is sent
        again with the same id, and a host that has handled it repeats its answer.

        Args:
            host: Name of the host.
            request: The request.
            answer: Type of the answer.
            timeout_s: How long to wait for the host to be there, and to answer, in seconds.

        Raises:
            HostError: It is not there, has another version, refuses, or does not answer in time.
        """
        end_s = time.monotonic() + timeout_s
        check_fit(self._session.presence.wait_for(host, timeout_s), host)
        payload = msgspec.msgpack.encode(request)
        if len(payload) > MOST_CALL_BYTES:
            raise _too_large(host, type(request), len(payload))
        call = secrets.token_bytes(_ID_BYTES)
        while True:
            left_s = max(_LEAST_S, end_s - time.monotonic())
            found = self._ask_once(host, payload, call, left_s)
            if found is not None:
                return _read_answer(host, found, answer)
            if time.monotonic() + _AGAIN_S > end_s:
                raise self._silent(host, type(request), timeout_s)
            time.sleep(_AGAIN_S)

    def _ask_once(self, host: str, payload: bytes, call: bytes, timeout_s: float) -> bytes | None:
        try:
            replies = self._session.zenoh.get(
                call_key(host), payload=payload, attachment=call, timeout=timeout_s
            )
            reply = next(iter(replies), None)
        except zenoh_module().ZError as error:
            raise HostError(f"host {host} cannot be asked: {error}", host=host) from error
        return None if reply is None or reply.ok is None else bytes(reply.ok.payload)

    def _silent(self, host: str, request: type[Message], timeout_s: float) -> HostError:
        what = f"host {host} did not answer ({request.__name__})"
        if not self._session.presence.named(host):
            return HostError(
                f"{what}: the connection to it was lost",
                host=host,
                remedy=f"Look whether it runs: mlink hosts; on {host}: mlink agent.",
            )
        return HostError(
            f"{what} within {timeout_s:g} s",
            host=host,
            remedy="It may be overloaded, or this host may not ask it: only controllers may, and "
            "its log says more (journalctl --user -u mlink-agent).",
        )


def check_fit(found: list[Any], host: str) -> None:
    """Refuse hosts that calls cannot be made to.

    Args:
        found: What `Presence.named` has for the name.
        host: The name.

    Raises:
        HostError: None is there, more than one is, or its version is another one.
    """
    if not found:
        raise HostError(
            f"host {host} is not there",
            host=host,
            remedy=f"Start its agent (on {host}: mlink agent), and look at its address: mlink "
            "hosts.",
        )
    if len(found) > 1:
        raise HostError(
            f"{len(found)} hosts have the name {host}",
            host=host,
            remedy="Let one of them join again under another name: mlink agent invite, then the "
            "line with --name NAME.",
        )
    ours, theirs = mlink_version(), found[0]
    if theirs.protocol != PROTOCOL or theirs.version != ours:
        raise HostError(
            f"host {host} has mlink {theirs.version}, and this one has {ours}: both must have one "
            "version",
            host=host,
            remedy=f"On the older one: pip install --upgrade 'mlink-hil[hosts]=="
            f"{max(ours, theirs.version)}', then start its agent again.",
        )


def _too_large(host: str, kind: type[Message], size: int) -> HostError:
    return HostError(
        f"{kind.__name__} for or from host {host} has {size / 1e6:.1f} MB; at most "
        f"{MOST_CALL_BYTES / 1e6:.1f} MB can be sent",
        host=host,
        remedy="Make scripts and settings of the bench smaller.",
    )


def _read_answer(host: str, payload: bytes, answer: type[A]) -> A:
    if len(payload) > MOST_CALL_BYTES:
        raise _too_large(host, answer, len(payload))
    try:
        found: A | Refused = msgspec.msgpack.decode(payload, type=answer | Refused)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise HostError(
            f"host {host} answered what cannot be read: {str(error)[:200]}",
            host=host,
            remedy="Look whether another program uses its address.",
        ) from error
    if isinstance(found, Refused):
        raise HostError(f"host {host}: {found.message}", host=host, remedy=found.remedy)
    return found


Handler = Callable[[Any], Message]


class Service(ClosesOnExit):
    """Answers what other hosts ask, in one thread of its own, one request after the other.

    Args:
        session: An open session.
        host: This host's name; a token says that it is there while the service lasts.
        handlers: What handles each type of request, and returns the answer. One that raises an
            `MlinkError` refuses: the other end has it as `HostError`. Each should return soon, as
            all others wait for it.

    Raises:
        HostError: The name cannot be that of a host.
    """

    def __init__(
        self, session: HostSession, host: str, handlers: Mapping[type[Message], Handler]
    ) -> None:
        check_host_name(host)
        self._handlers = dict(handlers)
        self._decoder = msgspec.msgpack.Decoder(functools.reduce(operator.or_, self._handlers))
        self._requests: queue.Queue[zenoh.Query | None] = queue.Queue(_MOST_WAITING)
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self.refused = 0
        """Requests that were not handled: damaged, too large, or too many at once."""
        self._closed = False
        self._thread = threading.Thread(target=self._answer_all, name="host-calls", daemon=True)
        self._thread.start()
        self._queryable: Any = session.zenoh.declare_queryable(call_key(host), self._on_query)
        self._token: Any = session.zenoh.liveliness().declare_token(
            alive_key(host, mlink_version(), session.id)
        )

    def _on_query(self, query: zenoh.Query) -> None:
        try:
            self._requests.put_nowait(query)
        except queue.Full:
            self.refused += 1
            _reply(query, _packed(Refused(f"{_MOST_WAITING} requests wait already", "Ask later.")))

    def _answer_all(self) -> None:
        while (query := self._requests.get()) is not None:
            call = b"" if query.attachment is None else bytes(query.attachment)
            packed = self._answers.get(call)
            if packed is None:
                packed = _packed(self._answer(query))
                self._keep(call, packed)
            _reply(query, packed)
            query.drop()

    def _keep(self, call: bytes, packed: bytes) -> None:
        if len(call) != _ID_BYTES:
            return
        self._answers[call] = packed
        while (
            len(self._answers) > _MOST_REPEATED
            or sum(map(len, self._answers.values())) > _MOST_REPEATED_BYTES
        ):
            self._answers.popitem(last=False)

    def _answer(self, query: zenoh.Query) -> Message:
        payload = query.payload
        size = 0 if payload is None else len(payload)
        if payload is None or size > MOST_CALL_BYTES:
            self.refused += 1
            return Refused(f"a request has {size} bytes; at most {MOST_CALL_BYTES} are taken")
        try:
            request = self._decoder.decode(bytes(payload))
        except (msgspec.MsgspecError, RecursionError) as error:
            self.refused += 1
            return Refused(f"a request cannot be read: {str(error)[:200]}")
        try:
            return self._handlers[type(request)](request)
        except MlinkError as error:
            return Refused(error.message[:4000], error.remedy[:4000])
        except Exception as error:
            log.exception("%s was not handled", type(request).__name__)
            return Refused(
                f"{type(request).__name__} failed: {type(error).__name__}: {str(error)[:1000]}",
                "This is a fault in mlink: please report it, with the log of that host.",
            )

    def close(self) -> None:
        """Answer no more; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._token.undeclare()
        self._queryable.undeclare()
        try:
            self._requests.put(None, timeout=_JOIN_S)
        except queue.Full:
            return  # a handler hangs: its thread ends with the process
        self._thread.join(_JOIN_S)


def _packed(answer: Message) -> bytes:
    packed = msgspec.msgpack.encode(answer)
    if len(packed) > MOST_CALL_BYTES:
        text = f"the answer has {len(packed)} bytes; at most {MOST_CALL_BYTES} are sent"
        return msgspec.msgpack.encode(Refused(text))
    return packed


def _reply(query: zenoh.Query, packed: bytes) -> None:
    with contextlib.suppress(zenoh_module().ZError):  # who asked has gone
        query.reply(query.key_expr, packed)
