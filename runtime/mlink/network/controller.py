"""Leads runs of other machines: they prepare, start and stop with this one."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from mlink.closing import ClosesOnExit
from mlink.engine.remote import Figures, StartAt, Wait
from mlink.errors import ControlError
from mlink.hosts.clocks.system import boot_id, clock_error_usec, read_clocks
from mlink.network.messages import (
    CONTROL_PORT,
    FEEDBACK_PORT,
    LINGER_MSEC,
    TOPIC,
    VERSION,
    Message,
    Ours,
    Wire,
    bounded_socket,
    instance_id,
    zmq_module,
)

_JOIN_S: Final = 0.6
"""Least time after the bind: listeners connect again at intervals."""
_STEP_S: Final = 0.05
_MOST_AT_ONCE: Final = 1000
"""Acknowledgements that are read in one look."""

log = logging.getLogger("mlink.network")


class Controller(ClosesOnExit):
    """Implements `RunControl` for the machine that leads.

    Args:
        listeners: How many have to take part; 0 waits for none.
        host: Address to listen at.
        control_port: Port of commands; 0 takes a free one.
        feedback_port: Port of acknowledgements; 0 takes a free one.
        timeout_s: How long to wait for the listeners.
        project: Name of what is run.
        subject: Subject of the run.
        subject_group: Its group.
        experiment: Name of the recording.
        token: Secret of both ends; b"" for none.

    Raises:
        ControlError: pyzmq is missing, or a port is in use.
    """

    def __init__(
        self,
        listeners: int = 0,
        *,
        host: str = "127.0.0.1",
        control_port: int = CONTROL_PORT,
        feedback_port: int = FEEDBACK_PORT,
        timeout_s: float = 6.0,
        project: str = "",
        subject: str = "",
        subject_group: str = "",
        experiment: str = "",
        token: bytes = b"",
    ) -> None:
        self._zmq = zmq_module()
        self._wanted, self._timeout_s = listeners, timeout_s
        self._about = {
            "project": project,
            "subject_id": subject,
            "subject_group": subject_group,
            "experiment_id": experiment,
        }
        self._sender = instance_id()
        self._wire = Wire(token)
        self._run_id = ""
        self._acks: dict[str, set[str]] = {}
        """What was acknowledged → senders."""
        self._start_by_s = 0.0
        self._context = self._zmq.Context()
        # an XPUB is a PUB that sees who subscribes
        self._commands = bounded_socket(self._zmq, self._context, self._zmq.XPUB)
        self._commands.setsockopt(self._zmq.XPUB_VERBOSER, 1)  # each of several listeners
        self._feedback = bounded_socket(self._zmq, self._context, self._zmq.PULL)
        self._bound_s = time.monotonic()
        try:
            self.ports = tuple(
                _bind(self._zmq, socket, host, port)
                for socket, port in (
                    (self._commands, control_port),
                    (self._feedback, feedback_port),
                )
            )
        except ControlError:
            self.close()
            raise
        if host not in ("127.0.0.1", "localhost", "::1") and not token:
            log.warning("anybody who reaches %s can take part: there is no --net-token", host)

    def prepare(self, run_uuid: bytes, wait: Wait) -> None:
        """Let the listeners prepare, and wait until as many as asked for have.

        Raises:
            ControlError: Too few answer in time, or one cannot.
        """
        self._run_id = run_uuid.hex()
        end_s = time.monotonic() + self._timeout_s
        seen = 0
        while (now_s := time.monotonic()) < self._bound_s + _JOIN_S or seen < self._wanted:
            if now_s >= end_s or not wait(_STEP_S):
                break
            seen += self._subscriptions()
        self._send("prepare", **self._about)
        end_s = time.monotonic() + self._timeout_s
        while self._count("prepare") < self._wanted and time.monotonic() < end_s:
            self._take()
            if not wait(_STEP_S):
                return
        self._take()
        if self._count("prepare") < self._wanted:
            raise ControlError(
                f"{self._count('prepare')} of {self._wanted} listeners were ready within "
                f"{self._timeout_s:g} s{self._refusals()}",
                remedy="Start them (mlink listen BENCH), or look at their ports and tokens.",
            )

    def await_start(self, wait: Wait) -> StartAt:  # noqa: ARG002
        """Return the present: this machine leads."""
        return StartAt(time.monotonic_ns(), {})

    def started(self, t0_ns: int) -> Figures:
        """Let the listeners start at this run's zero."""
        clocks, error = read_clocks(), clock_error_usec()
        start_us = (t0_ns + clocks.offset_ns) / 1000
        ours = Ours(boot=boot_id(), clock_error_us=error)
        self._send("start", ts_start_us=round(start_us), mlink=ours)
        self._start_by_s = time.monotonic() + self._timeout_s
        return {
            "role": "controller",
            "t0_unix_usec": round(start_us),
            "clock_error_usec": "unknown" if error is None else error,
            "listeners": self._count("prepare"),
        }

    def look(self) -> None:
        """Read acknowledgements.

        Raises:
            ControlError: A listener has failed to start, or too few have.
        """
        self._take()
        started = self._count("start")
        if self._start_by_s and time.monotonic() > self._start_by_s:
            self._start_by_s = 0.0
            if started < self._wanted:
                raise ControlError(
                    f"{started} of {self._wanted} listeners have started within "
                    f"{self._timeout_s:g} s{self._refusals()}",
                    remedy="Look at their logs.",
                )

    def ended(self, *, success: bool) -> None:
        """Let the listeners stop."""
        if self._run_id:
            self._send("stop", success=success)
        if self._wire.refused:
            log.warning("%d messages were refused%s", self._wire.refused, self._refusals())

    def close(self) -> None:
        """Close the ports, when what was sent has left or a second is over."""
        self._context.destroy(LINGER_MSEC)

    def _send(self, kind: str, **fields: Any) -> None:
        message = Message(VERSION, kind, self._sender, self._run_id, **fields)
        self._commands.send_multipart(self._wire.frames(message, TOPIC))

    def _count(self, what: str) -> int:
        return len(self._acks.get(what, ()))

    def _refusals(self) -> str:
        return f"; the last message was refused: {self._wire.why}" if self._wire.refused else ""

    def _subscriptions(self) -> int:
        """Return how many more listen than at the last look."""
        found = 0
        while (frames := _received(self._zmq, self._commands)) is not None:
            found += {1: 1, 0: -1}.get(frames[0][0], 0) if frames[0] else 0
        return found

    def _take(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            frames = _received(self._zmq, self._feedback)
            if frames is None:
                return
            message = self._wire.read(frames)
            if message is None or message.type != "ack":
                continue
            if message.run_uuid.hex() != self._run_id:
                continue  # of another run
            if message.success is False and message.ack_for in ("prepare", "start"):
                raise ControlError(
                    f"the listener {message.sender!r} cannot {message.ack_for}: {message.error!r}",
                    remedy="Look at its log.",
                )
            if len(self._acks.setdefault(message.ack_for, set())) < _MOST_AT_ONCE:
                self._acks[message.ack_for].add(message.sender)


def _received(zmq: Any, socket: Any) -> list[bytes] | None:
    try:
        frames: list[bytes] = socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None
    return frames


def _bind(zmq: Any, socket: Any, host: str, port: int) -> int:
    try:
        socket.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        raise ControlError(
            f"cannot listen at {host}:{port}: {error}",
            remedy="Look whether another controller runs, or take another port (--net-…-port).",
        ) from error
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
