"""The engine's handle of one worker process: its channel, its state and its counts."""

from __future__ import annotations

import enum
import os
import signal
import socket
import time
from dataclasses import dataclass, field

from mlink.bench import ModuleConfig
from mlink.channel import EngineChannel
from mlink.control import EngineMessage, InputCount
from mlink.engine.direct_output import DirectOutput
from mlink.errors import ControlError
from mlink.transport.doorbell import Doorbell


class State(enum.IntEnum):
    """Progress of a worker, in ascending order."""

    SPAWNED = 0
    LOADED = 1
    PREPARED = 2
    STARTING = 3
    STARTED = 4
    ENDED = 5
    """Its output streams are complete."""
    FINISHED = 6
    CLOSED = 7
    GONE = 8


@dataclass(slots=True)
class WorkerHandle:
    """One worker process, its channel, and the last state and counts that it sent.

    The engine's thread alone changes it.
    """

    config: ModuleConfig
    channel: EngineChannel
    worker_sock: socket.socket
    doorbell: Doorbell
    output: DirectOutput
    state: State = State.SPAWNED
    pid: int = 0
    exit_code: int | None = None
    failed: bool = False
    nice: int = 0
    closed: bool = False
    """Whether it has reported that its files are closed."""
    hung_up: bool = False
    """Whether its end of the channel is closed."""
    counted_s: float = 0.0
    """When its last counts arrived (time.monotonic)."""
    sent: dict[str, int] = field(default_factory=dict)
    lost: dict[str, list[int]] = field(default_factory=dict)
    """Items that did not get into each subscription, by output port."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Items that the module lost before it could send them, by output port."""
    received: dict[str, InputCount] = field(default_factory=dict)
    handled: dict[str, dict[int, int]] = field(default_factory=dict)
    """At its end: input → time in µs that its handler took → how often."""
    text: str = ""
    slowest_item_s: float = 0.0
    """Longest time that one item has taken it."""
    pending_acks: int = 0
    """Messages that it has not acknowledged yet."""
    deadline: float | None = None
    """End of its time to finish (time.monotonic); None while it waits for its sources."""
    rests_until: float = 0.0
    """End of a wait of its script that goes on after the stop (time.monotonic)."""
    rung: int = 0
    """Steps of the stop ladder taken: 1 interrupted, 2 terminated, 3 killed."""
    place: str = ""
    """Where it stood when the first step was taken, as the end of a sentence."""
    remedy: str = ""
    """What to do about that; "" if it depends on the module."""

    @classmethod
    def create(cls, config: ModuleConfig) -> WorkerHandle:
        """Return the handle of a worker that is not forked yet, with its descriptors."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(config, EngineChannel(ours), theirs, Doorbell(), DirectOutput())

    @property
    def name(self) -> str:
        """The module's name."""
        return self.config.name

    @property
    def alive(self) -> bool:
        """Whether the process has not exited (it may not be forked yet)."""
        return self.exit_code is None

    @property
    def runs(self) -> bool:
        """Whether the process was forked and has not exited."""
        return self.pid > 0 and self.alive

    def send(self, message: EngineMessage) -> None:
        """Send a message. An error is ignored: the exit code of a dead worker follows.

        Nothing is sent to a worker that has closed or exited.
        """
        if self.state >= State.CLOSED or not self.alive:
            return
        try:
            self.channel.send(message)
        except ControlError:
            pass

    def flush(self) -> None:
        """Send what the worker had no room for before."""
        try:
            self.channel.flush()
        except ControlError:
            pass

    def advance(self, state: State) -> None:
        """Set a later state; an earlier one is ignored."""
        self.state = max(self.state, state)

    def allow(self, seconds: float) -> None:
        """Set the deadline to `seconds` from now.

        The stop ladder takes its next step after the deadline.
        """
        self.deadline = time.monotonic() + seconds

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs.

        The process id of an exited worker may belong to another process by now.
        """
        if self.pid and self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def close(self) -> None:
        """Close the channel, the worker's socket, the doorbell and the pipe of its output."""
        self.channel.close()
        self.worker_sock.close()
        self.doorbell.close()
        self.output.close()
