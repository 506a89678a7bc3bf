"""Commands of a person beside those of a script: a second source of an input.

An input has one source in a bench. A view that may command gets an input of its own beside it
(`PortSpec.beside`), whose items the same handler takes, in the order of their arrival. Commands of
the first source wait for nothing, and each stream keeps its own account. What the module refuses of
a person ends no run: the answer has the reason.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from mlink.errors import MlinkError, StreamError
from mlink.types import ControlCommand, LineCommand
from mlink.worker.input_port import WorkerInput
from mlink.worker.output_port import WorkerOutput


class SecondSource:
    """Passes the items of an input to the handler of another one, and answers each.

    An answer is a row: number of the command in its stream, master time in µs at which the module
    took it, and why it was refused, "" where it was not.

    Args:
        first: The input whose handler takes the items.
        second: The input beside it.
        answers: The output that takes the answers.
        now_usec: Returns master time in µs.
        log: The module's log.
    """

    def __init__(
        self,
        first: WorkerInput,
        second: WorkerInput,
        answers: WorkerOutput,
        now_usec: Callable[[], int],
        log: logging.Logger,
    ) -> None:
        self._first = first
        self._second = second
        self._answers = answers
        self._now_usec = now_usec
        self._log = log
        self._refusal = ""
        self._thread = 0
        """The thread that handles an item of the second source; 0 for none."""
        second.on_item = self._take

    def refuses(self, error: BaseException | str) -> bool:
        """Take an error of the handler as the refusal of its item; False for any other error."""
        if threading.get_ident() != self._thread or not isinstance(error, MlinkError):
            return False
        self._refusal = f"{error.message} → {error.remedy}" if error.remedy else error.message
        return True

    def _take(self, item: LineCommand | ControlCommand) -> None:
        number, taken_usec = self._second.taken - 1, self._now_usec()
        self._refusal = ""
        if (handler := self._first.on_item) is None:
            self._refusal = "it takes no commands now"
        else:
            self._handle(handler, item)
        if self._refusal:
            self._log.warning("a command from the view was refused: %s", self._refusal)
        try:
            self._answers.submit([str(number), str(taken_usec), self._refusal])
        except StreamError:
            pass  # its outputs have ended: nobody waits for an answer any more

    def _handle(
        self, handler: Callable[[object], object], item: LineCommand | ControlCommand
    ) -> None:
        self._thread, self._first.in_place = threading.get_ident(), self._second
        try:
            handler(item)
        except MlinkError as error:
            if not self.refuses(error):
                raise
        finally:
            self._thread, self._first.in_place = 0, None
