"""The link between a script and its worker: the one global of the project.

A script is a program of free functions, so `syntalos_mlink` has to find its worker by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from mlink.module import ModuleContext
from mlink.scripting.errors import SyntalosPyError
from mlink.scripting.ports import InputPort, OutputPort

_WAIT_STEP_USEC = 5_000
_WAIT_SEC_STEP_USEC = 50_000


class ScriptLink:
    """What the functions of `syntalos_mlink` do, for one worker."""

    def __init__(self, context: ModuleContext[Any]) -> None:
        self._context = context
        self._inputs = {key: InputPort(port) for key, port in context.inputs.items()}
        self._outputs = {key: OutputPort(port) for key, port in context.outputs.items()}
        self.error: str | None = None

    def input_port(self, id: str) -> InputPort | None:
        """Return the input port of that id, or None."""
        return self._inputs.get(id)

    def output_port(self, id: str) -> OutputPort | None:
        """Return the output port of that id, or None."""
        return self._outputs.get(id)

    def time_usec(self) -> int:
        """Return master time in µs."""
        return self._context.clock.now_usec()

    @property
    def running(self) -> bool:
        """Whether the run is on and no stop was asked."""
        return self._context.running

    def await_data(self, timeout_usec: int) -> None:
        """Serve inputs, delayed calls and the engine."""
        self._context.serve(timeout_usec)

    def wait_usec(self, duration_usec: int, step_usec: int) -> None:
        """Serve for that long in master time, or until a stop is asked."""
        end = self.time_usec() + duration_usec
        while self.running:
            left = end - self.time_usec()
            if left <= 0:
                return
            self._context.serve(min(left, step_usec))

    def wait_msec(self, msec: int) -> None:
        """Serve for `msec` milliseconds."""
        self.wait_usec(msec * 1000, _WAIT_STEP_USEC)

    def wait_sec(self, sec: int) -> None:
        """Serve for `sec` seconds."""
        self.wait_usec(sec * 1_000_000, _WAIT_SEC_STEP_USEC)

    def call_later(self, delay_msec: int, function: Callable[[], object]) -> None:
        """Call once, `delay_msec` milliseconds from now."""
        if delay_msec < 0:
            raise SyntalosPyError("the delay must not be negative")
        if not callable(function):
            raise SyntalosPyError("schedule_delayed_call needs a function")
        self._context.call_later(round(delay_msec * 1000), function)

    def raise_error(self, message: str) -> None:
        """End the run as failed, with this text."""
        self._context.fail(str(message))

    def print_line(self, text: str) -> None:
        """Print a line at once."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


_link: ScriptLink | None = None


def set_link(link: ScriptLink | None) -> None:
    """Make this the link of the process's script."""
    global _link
    _link = link


def get_link() -> ScriptLink:
    """Return the link; SyntalosPyError when there is none."""
    if _link is None:
        raise SyntalosPyError(
            "there is no link to mlink yet: call init_link() first, or run this script as a "
            "module of a bench (mlink run BENCH)"
        )
    return _link
