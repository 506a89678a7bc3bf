"""The engine's view of one worker: its channel, its state, and the ladder that ends it."""

from __future__ import annotations

import enum
import os
import signal
import socket
import time
from dataclasses import dataclass, field

from mlink.bench import ModuleConfig
from mlink.control import Channel, EngineMessage, InputCount, WorkerMessages, engine_channel
from mlink.errors import ControlError
from mlink.transport.doorbell import Doorbell


class State(enum.IntEnum):
    """How far a worker has come."""

    SPAWNED = 0
    LOADED = 1
    PREPARED = 2
    STARTING = 3
    STARTED = 4
    ENDED = 5
    """Its outputs are complete."""
    FINISHED = 6
    CLOSED = 7
    GONE = 8


@dataclass(slots=True)
class WorkerHandle:
    """One worker process and what is known of it."""

    config: ModuleConfig
    channel: Channel[WorkerMessages]
    worker_sock: socket.socket
    doorbell: Doorbell
    state: State = State.SPAWNED
    pid: int = 0
    exit_code: int | None = None
    failed: bool = False
    nice: int = 0
    closed: bool = False
    """It has said that its files are closed."""
    counted_s: float = 0.0
    """When its counts came (time.monotonic)."""
    sent: dict[str, int] = field(default_factory=dict)
    received: dict[str, InputCount] = field(default_factory=dict)
    text: str = ""
    pending_acks: int = 0
    deadline: float | None = None
    """When its time to finish is over (time.monotonic); None while it waits for others."""
    rung: int = 0
    """Step of the stop ladder already taken: 1 interrupted, 2 terminated, 3 killed."""

    @classmethod
    def create(cls, config: ModuleConfig) -> WorkerHandle:
        """Make the channel and the doorbell of a worker that is to be forked."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(config, engine_channel(ours), theirs, Doorbell())

    @property
    def name(self) -> str:
        """The module's name."""
        return self.config.name

    @property
    def alive(self) -> bool:
        """Whether the process still runs (or is about to)."""
        return self.exit_code is None

    def send(self, message: EngineMessage) -> None:
        """Send a message; a worker that is gone is noticed by its exit."""
        if self.state >= State.CLOSED or not self.alive:
            return
        try:
            self.channel.send(message)
        except ControlError:
            pass

    def advance(self, state: State) -> None:
        """Note a further state; states never go back."""
        self.state = max(self.state, state)

    def allow(self, seconds: float) -> None:
        """Give the worker this long from now for what it has to do next."""
        self.deadline = time.monotonic() + seconds

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if self.pid and self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def close(self) -> None:
        """Close the engine's ends."""
        self.channel.close()
        self.worker_sock.close()
        self.doorbell.close()
