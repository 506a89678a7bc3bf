"""Runs a bench when another machine asks for it: prepares, starts and stops with that one."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from mlink.api.run import Run
from mlink.closing import ClosesOnExit
from mlink.engine.remote import Figures, StartAt, Wait
from mlink.engine.status import RunResult
from mlink.errors import ControlError, MlinkError
from mlink.hosts.clocks.system import boot_id, clock_error_usec, read_clocks
from mlink.network.messages import (
    CONTROL_PORT,
    FEEDBACK_PORT,
    LINGER_MSEC,
    TOPIC,
    VERSION,
    Message,
    Wire,
    bounded_socket,
    instance_id,
    zmq_module,
)

_START_S: Final = 30.0
"""How long a prepared run waits for the start."""
_STEP_S: Final = 0.01
_POLL_MSEC: Final = 50
_WARN_S: Final = 60.0
"""Least time between two warnings of refused messages."""
_OLDEST_S: Final = 60.0
"""A start longer ago than this is an error of the clocks."""

log = logging.getLogger("mlink.network")
MakeRun = Callable[[Message, "StartSignal"], Run]


class StartSignal:
    """Implements `RunControl` for a machine that is led: its run starts when the start has come."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        """Whether all modules have prepared."""
        self._given: StartAt | None = None
        self._error = ""

    def prepare(self, run_uuid: bytes, wait: Wait) -> None:
        """Do nothing: this machine does not lead."""

    def await_start(self, wait: Wait) -> StartAt | None:
        """Wait for the controller's start.

        Raises:
            ControlError: It does not come within 30 s, or cannot be used.
        """
        self.ready.set()
        end_s = time.monotonic() + _START_S
        while self._given is None and not self._error:
            if time.monotonic() > end_s:
                text = f"the controller did not start within {_START_S:g} s"
                raise ControlError(text, remedy="Look at its log.")
            if not wait(_STEP_S):
                return None
        if self._error:
            raise ControlError(self._error, remedy="Synchronise both clocks (chrony, PTP).")
        return self._given

    def start(self, message: Message) -> None:
        """Take the controller's start; only the first one counts."""
        if self._given is not None:
            return
        clocks, own = read_clocks(), clock_error_usec()
        now_ns = time.monotonic_ns()
        assert message.ts_start_us is not None
        t0_ns = round(message.ts_start_us * 1000) - clocks.offset_ns
        ahead_usec = max(0, t0_ns - now_ns) / 1000
        if not -_OLDEST_S * 1e9 < t0_ns - now_ns < _OLDEST_S * 1e9:
            differ_s = (now_ns - t0_ns) / 1e9
            self._error = f"the clocks of this machine and the controller differ: {differ_s:.1f} s"
            return
        remote = message.mlink.clock_error_us
        if message.mlink.boot and message.mlink.boot == boot_id():
            uncertain: float | str = round(1 + clocks.error_usec + ahead_usec, 1)  # one clock
        elif own is None or remote is None:
            uncertain = "unknown"
            log.warning("no known error of both system clocks: that of the start is unknown")
        else:
            uncertain = round(own + remote + clocks.error_usec + ahead_usec, 1)
        self._given = StartAt(
            min(t0_ns, now_ns),
            {
                "role": "listener",
                "t0_unix_usec": round(message.ts_start_us),
                "t0_uncertainty_usec": uncertain,
                "controller": message.sender,
            },
        )

    def started(self, t0_ns: int) -> Figures:  # noqa: ARG002
        """Do nothing: this machine does not lead."""
        return {}

    def look(self) -> None:
        """Do nothing: the listener handles messages."""

    def ended(self, *, success: bool) -> None:
        """Do nothing: the listener acknowledges the end."""


class Listener(ClosesOnExit):
    """Waits for a controller, and makes runs as it asks, one at a time.

    Args:
        make_run: Starts a run for a "prepare"; called with it and with the run's `StartSignal`.
        host: Address of the controller.
        control_port: Its port of commands.
        feedback_port: Its port of acknowledgements.
        token: Secret of both ends; b"" for none.
        on_end: Called with each result.

    Raises:
        ControlError: pyzmq is missing, or the address cannot be used.
    """

    def __init__(
        self,
        make_run: MakeRun,
        *,
        host: str = "127.0.0.1",
        control_port: int = CONTROL_PORT,
        feedback_port: int = FEEDBACK_PORT,
        token: bytes = b"",
        on_end: Callable[[RunResult], object] = lambda _result: None,
    ) -> None:
        self._zmq = zmq_module()
        self._make_run, self._on_end = make_run, on_end
        self._wire = Wire(token)
        self._sender = instance_id()
        self._run: Run | None = None
        self._signal = StartSignal()
        self._message: Message | None = None
        """The "prepare" of the run."""
        self._is_ready = False
        self._stopped = False
        self._warned_s = -_WARN_S
        self._known: set[str] = set()
        """Ids of runs that were asked for: none is made twice."""
        self.runs = 0
        """Runs that have ended."""
        self._context = self._zmq.Context()
        self._commands = self._connected(self._zmq.SUB, host, control_port)
        self._commands.setsockopt(self._zmq.SUBSCRIBE, TOPIC)
        self._lost = False
        """Whether the connection to the controller broke in a run, and is not back."""
        events = self._zmq.EVENT_DISCONNECTED | self._zmq.EVENT_HANDSHAKE_SUCCEEDED
        self._breaks = self._commands.get_monitor_socket(events)
        self._address = f"tcp://{host}:{control_port}"
        self._feedback = self._connected(self._zmq.PUSH, host, feedback_port)

    def _connected(self, kind: int, host: str, port: int) -> Any:
        socket = bounded_socket(self._zmq, self._context, kind)
        socket.setsockopt(self._zmq.RECONNECT_IVL_MAX, 2000)
        try:
            socket.connect(f"tcp://{host}:{port}")
        except self._zmq.ZMQError as error:
            self._context.destroy(0)
            raise ControlError(
                f"'{host}:{port}' is no address of a controller: {error}",
                remedy="Give --net-host a name or an address.",
            ) from error
        return socket

    def serve(self, *, until: Callable[[], bool]) -> None:
        """Handle messages until `until` returns True between two of them."""
        while not until():
            if self._commands.poll(_POLL_MSEC):
                self._take(self._commands.recv_multipart())
            if self._breaks.poll(0):
                event = int.from_bytes(self._breaks.recv_multipart()[0][:2], sys.byteorder)
                self._on_connection(is_there=event != self._zmq.EVENT_DISCONNECTED)
            self._follow()

    def _on_connection(self, *, is_there: bool) -> None:
        """Note whether the controller is there; without it, connect again.

        ZeroMQ does not after a message that breaks its rules, as a large one.
        """
        if is_there:
            if self._lost:
                log.warning("the connection to the controller is back")
            self._lost = False
            return
        if self._run is not None and not self._lost:
            self._lost = self._warn(
                "the connection to the controller is lost: the run goes on until its stop, or until"
                " Ctrl-C here"
            )
        with contextlib.suppress(self._zmq.ZMQError):  # it has given the address up
            self._commands.disconnect(self._address)
        self._commands.connect(self._address)

    def close(self) -> None:
        """Stop a run that lasts, and disconnect."""
        if self._run is not None:
            self._run.stop("the listener ends")
            with contextlib.suppress(MlinkError):  # `_follow` handles it
                self._run.wait()
            self._follow()
        self._commands.disable_monitor()
        self._context.destroy(LINGER_MSEC)

    def _take(self, frames: list[bytes]) -> None:
        message = self._wire.read(frames, TOPIC)
        if message is None:
            self._warn(f"a message was refused: {self._wire.why}")
            return
        if message.sender == self._sender:
            return
        is_ours = self._message is not None and message.run_uuid == self._message.run_uuid
        if message.type == "prepare":
            self._prepare(message)
        elif message.type == "start" and is_ours and message.ts_start_us is not None:
            self._signal.start(message)
            self._acknowledge(message, "start")
        elif message.type == "stop" and is_ours and self._run is not None:
            self._stopped = True
            how = "" if message.success is not False else ": its run has failed"
            self._run.stop(f"the controller stopped{how}")

    def _prepare(self, message: Message) -> None:
        run_id = message.run_uuid.hex()
        if self._run is not None:
            self._acknowledge(message, "prepare", "already running")
            return
        if run_id in self._known:
            self._acknowledge(message, "prepare", "this run was made before")
            return
        self._known.add(run_id)
        self._signal, self._message = StartSignal(), message
        self._is_ready = self._stopped = False
        log.info("%s asks for a run", message.sender)
        try:
            self._run = self._make_run(message, self._signal)
        except MlinkError as error:
            self._acknowledge(message, "prepare", error.message)
            log.error("%s", error)

    def _follow(self) -> None:
        """Acknowledge that the run is ready, and that it has ended."""
        if self._run is None:
            return
        assert self._message is not None
        if self._signal.ready.is_set() and not self._is_ready:
            self._is_ready = True
            self._acknowledge(self._message, "prepare")
        if not self._run.ended:
            return
        run, self._run = self._run, None
        try:
            result = run.result
        except MlinkError as error:
            result = RunResult(False)
            text = error.message
            log.error("%s", error)
        else:
            text = "; ".join(str(failure) for failure in result.failures)
        if not self._is_ready:
            self._acknowledge(self._message, "prepare", text or "it ended before it was ready")
        elif self._stopped or not result.success:
            self._acknowledge(self._message, "stop", "" if result.success else text or "it failed")
        self.runs += 1
        self._message = None
        self._on_end(result)

    def _acknowledge(self, message: Message, what: str, error: str = "") -> None:
        made = Message(
            VERSION, "ack", self._sender, message.run_id,
            ack_for=what, success=not error, error=error[:2000],
        )  # fmt: skip
        try:
            self._feedback.send_multipart(self._wire.frames(made), self._zmq.NOBLOCK)
        except self._zmq.Again:
            self._warn(f"the controller does not take the acknowledgement of {what}")

    def _warn(self, text: str) -> bool:
        """Log a warning, one a minute: a peer can cause any number of them; return whether it is.

        The loss of the controller in a run is one of them.
        """
        if time.monotonic() - self._warned_s <= _WARN_S:
            return False
        self._warned_s = time.monotonic()
        log.warning("%s", text)
        return True
