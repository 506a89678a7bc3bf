"""One run on a host, as its agent keeps it: its process, events, clock, and who leads it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlink.engine.status import Failure, RunResult, RunStatus
from mlink.errors import HostError
from mlink.hosts.run import messages
from mlink.hosts.run.child import receive, send

if TYPE_CHECKING:
    from mlink.hosts.clocks.host_clock import HostClock

_MOST_EVENTS: Final = 5000
_AT_ONCE: Final = 300
_SILENT_S: Final = 3.0
"""After so long without a question of the controller it counts as lost."""
_TICK_S: Final = 0.25
_KILL_S: Final = 180.0
"""How long an aborted run may take to close its files."""

log = logging.getLogger("mlink.hosts")


class HostedRun:
    """Starts the process of a run, keeps what it reports, and ends it without its controller.

    Args:
        begin: What to run.
        owner: Who leads it.
        clock: This host's clock, followed for this run; closed with it.
    """

    def __init__(self, begin: messages.Begin, owner: str, clock: HostClock | None) -> None:
        self.run, self.owner = begin.run, owner
        self.folder = Path(begin.folder)
        self._options = begin.options
        self._clock = clock
        self._lock = threading.Lock()
        self._events: deque[messages.Event] = deque(maxlen=_MOST_EVENTS)
        self._first = 0
        """Number of the oldest event that is kept."""
        self._status: RunStatus | None = None
        self._prepared = False
        self._ends: str | None = None
        self._stopped = False
        self._heard_s = time.monotonic()
        self._is_lost = False
        self.result: RunResult | None = None
        self._reported: RunResult | None = None
        self._socket, theirs = socket.socketpair()
        passed = [theirs.fileno(), *([begin.clock_fd] if begin.clock_fd >= 0 else [])]
        with theirs, (self.folder / "process.log").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlink.hosts.run.child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=passed,
                start_new_session=True,
            )
        self._send(begin)
        self._threads = [
            threading.Thread(target=each, name=name, daemon=True)
            for each, name in ((self._read, "run events"), (self._watch, "run watch"))
        ]
        for each in self._threads:
            each.start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.result is not None

    def look(self, since: int) -> messages.Seen:
        """Return what is new; the controller is there."""
        with self._lock:
            self._heard_s = time.monotonic()
            skip = max(0, since - self._first)
            events = list(self._events)[skip : skip + _AT_ONCE]
            begin = self._first + skip
            result = self.result if begin + len(events) == self._first + len(self._events) else None
            return messages.Seen(
                events,
                begin + len(events),
                left_out=max(0, self._first - since),
                status=self._status,
                is_prepared=self._prepared,
                ends=self._ends,
                result=result,
                clock=dict(self._clock.figures()) if self._clock is not None else {},
            )

    def go(self, t0_ns: int) -> None:
        """Start at a reading of the controller's clock."""
        figures: dict[str, float | str] = {"role": "host", "controller": self.owner}
        local_ns = t0_ns
        if self._clock is not None:
            self._clock.begin(t0_ns)
            local_ns = self._clock.to_local_ns(0)
            figures |= self._clock.figures()
        self._send(messages.Start(local_ns, figures))

    def halt(self, reason: str, *, abort: bool) -> None:
        """Stop it in order; with `abort` without waiting for its modules."""
        self._stopped = True
        self._send(messages.Stop(reason, abort))

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it has come."""
        self._threads[0].join(timeout_s)
        return self.is_over

    def close(self) -> None:
        """End it, in order if that goes."""
        if not self.is_over:
            self.halt("the agent of this host ends", abort=False)
            if not self.wait(30.0):
                self.halt("the agent of this host ends", abort=True)
            if not self.wait(30.0):
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._threads[0].join(5.0)
        self._socket.close()

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # its end is seen by the reader
            send(self._socket, message)

    def _read(self) -> None:
        """Take what the process reports, until its end."""
        while (data := receive(self._socket)) is not None:
            message = messages.from_child.decode(data)
            with self._lock:
                match message:
                    case messages.Now(status=status):
                        self._status = status
                    case messages.Ready():
                        self._prepared = True
                    case messages.Ends(reason=reason):
                        self._ends = self._ends or reason or "it ends"
                    case messages.Over(result=result):
                        result.recording_dir = None  # what is recorded here is asked for
                        self._reported = result
                    case _:
                        if len(self._events) == _MOST_EVENTS:
                            self._first += 1
                        self._events.append(message)
        code = self._process.wait()
        with self._lock:
            self.result = self._reported or self._died(code)
        if self._clock is not None:
            self._clock.close()

    def _died(self, code: int) -> RunResult:
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        last = b""
        with contextlib.suppress(OSError):
            last = (self.folder / "process.log").read_bytes()[-2000:]
        lines = last.decode(errors="backslashreplace").strip()
        text = f"the process of this run ended {how}" + (f":\n{lines}" if lines else "")
        failure = Failure("", "run", text, "Its part of the recording may need `mlink repair`.")
        return RunResult(False, failures=[failure])

    def _watch(self) -> None:
        """End the run when its controller has gone for too long."""
        while not self.is_over:
            time.sleep(_TICK_S)
            silent_s = time.monotonic() - self._heard_s
            if silent_s < _SILENT_S:
                if self._is_lost:
                    log.warning("run %s: the controller is back", self.run[:8])
                self._is_lost = False
                continue
            if not self._is_lost:
                self._is_lost = True
                log.warning("run %s: nothing is heard of %s", self.run[:8], self.owner)
            limit_s = _SILENT_S if self._options.on_loss == "stop" else self._options.island_s
            if silent_s >= limit_s and not self._stopped:
                text = f"nothing was heard of the controller for {silent_s:.0f} s"
                self._ends = self._ends or text
                self.halt(text, abort=False)


def refuse_second(current: HostedRun | None) -> None:
    """Refuse to begin a run while another one lasts.

    Raises:
        HostError: One lasts.
    """
    if current is not None and not current.is_over:
        raise HostError(
            f"{current.owner} has a run here",
            remedy="Wait for its end, or end it: mlink hosts --release.",
        )
