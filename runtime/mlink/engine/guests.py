"""Enters contexts of other packages, each in a thread of its own: devices and companions of a run.

While one of them begins or ends, the engine goes on: it handles what the workers send and answers
Ctrl-C. One that hangs is named in the log and left behind.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from mlink.errors import ControlError, MlinkError
from mlink.refusals import refusal, text_of

_STEP_S = 0.25
_SHOWN_AFTER_S = 5.0
"""Time from which on a guest that does not begin or end is named in the log."""
_ABANDONED_S = 1.0
"""Longest wait at the end for a guest that was not waited for at its beginning."""

log = logging.getLogger("mlink.guests")

Entered = TypeVar("Entered")


@dataclass(frozen=True, slots=True)
class Hosting:
    """What the engine does while it waits for a guest."""

    pump: Callable[[float], None]
    """Handles what workers send, for at most so many seconds."""
    wake: Callable[[], None]
    """Lets `pump` return at once; called from the guest's thread."""
    ending: Callable[[], bool]
    """Whether the run has to end; a wait for the beginning of a guest is then given up."""
    hurried: Callable[[], bool]
    """Whether a wait for the end of a guest is given up, too."""

    def wait(self, event: threading.Event, what: str, limit_s: float, *, begins: bool) -> bool:
        """Go on until the event; return False after the limit, or when the wait is given up.

        Args:
            event: What is waited for.
            what: The guest, in messages.
            limit_s: Longest wait.
            begins: Whether the guest begins; otherwise it ends.
        """
        given_up = self.ending if begins else self.hurried
        began_s, shown = monotonic(), False
        while not event.is_set() and not given_up():
            waited_s = monotonic() - began_s
            if waited_s >= limit_s:
                break
            if waited_s >= _SHOWN_AFTER_S and not shown:
                shown = True
                missing = "is not ready" if begins else "has not ended"
                log.warning(
                    "%s %s after %g s",
                    what,
                    missing,
                    _SHOWN_AFTER_S,
                    extra={"of_wall_clock": True},
                )
            self.pump(min(_STEP_S, limit_s - waited_s))
        return event.is_set()


class Guest(threading.Thread, Generic[Entered]):
    """Enters and leaves one context; each takes at most `limit_s`.

    Entering it returns what the context gives, or None if the run has to end before that.

    Args:
        what: What it is, at the beginning of a message.
        make: Makes the context manager, in the guest's thread.
        hosting: What the engine does meanwhile.
        limit_s: Longest wait.
        remedy: What the user can do about one that does not begin.
    """

    def __init__(
        self,
        what: str,
        make: Callable[[], AbstractContextManager[Entered]],
        hosting: Hosting,
        *,
        limit_s: float,
        remedy: str,
    ) -> None:
        super().__init__(name=what, daemon=True)
        self._what = what
        self._make = make
        self._hosting = hosting
        self._limit_s = limit_s
        self._remedy = remedy
        self._began = threading.Event()
        self._leave = threading.Event()
        self._ended = threading.Event()
        self._value: Entered | None = None
        self._error: BaseException | None = None
        # What it logs belongs to the run of the thread that made it.
        # Not `_context`: Python 3.14 has its own there, and enters it before run().
        self._run_context = contextvars.copy_context()

    def run(self) -> None:
        """Hold the context from the start of the thread until it has to leave."""
        self._run_context.run(self._visit)

    def _visit(self) -> None:
        try:
            with self._make() as self._value:
                self._began.set()
                self._hosting.wake()
                self._leave.wait()
        except BaseException as error:  # noqa: BLE001 - raised again in the engine's thread
            self._error = error
        finally:
            self._began.set()
            self._ended.set()
            self._hosting.wake()

    def __enter__(self) -> Entered | None:
        self.start()
        if not self._hosting.wait(self._began, self._what, self._limit_s, begins=True):
            self._leave.set()
            if self._hosting.ending():
                return None
            raise ControlError(
                f"{self._what} is not ready after {self._limit_s:g} s", remedy=self._remedy
            )
        self._raise()
        return self._value

    def __exit__(self, *_: object) -> None:
        abandoned = self._leave.is_set()
        self._leave.set()
        limit_s = _ABANDONED_S if abandoned else self._limit_s
        if self._hosting.wait(self._ended, self._what, limit_s, begins=False):
            if not abandoned:
                self._raise()
        else:
            log.warning("%s has not ended; the run does not wait for it", self._what)

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is None:
            return
        if isinstance(error, MlinkError):
            raise error
        if (refused := refusal(error)) is not None:
            text = f"{self._what} has failed: {refused.message}"
            raise ControlError(text, remedy=refused.remedy) from error
        raise ControlError(
            f"{self._what} has failed: {type(error).__name__}: {text_of(error)}",
            remedy="This looks like a fault in its package: report it there.",
        ) from error
