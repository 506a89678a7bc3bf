"""Commands of a person beside those of a script: a second source of an input.

An input has one source in a bench. A view that may command gets an input of its own beside it
(`PortSpec.beside`), whose items the same handler takes, in the order of their arrival. Commands of
the first source wait for nothing, and each stream keeps its own account. What the module refuses of
a person ends no run: the answer has the reason. A script has one more, without a first source, for
the values that it offers; its journal has them, since they are an input of the script.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from mlink.errors import MlinkError, ModuleError, StreamError
from mlink.metadata import CONTROLS, Settable
from mlink.module import VALUES_PORT, PortSpec
from mlink.types import ControlCommand, DataType, LineCommand
from mlink.worker.input_port import WorkerInput
from mlink.worker.output_port import WorkerOutput
from mlink.worker.reports import Reporting


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
        self.refuse(f"{error.message} → {error.remedy}" if error.remedy else error.message)
        return True

    def refuse(self, why: str) -> None:
        """Note why the item that this thread handles is refused; nothing without one."""
        if threading.get_ident() == self._thread:
            self._refusal = why

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


class SecondSources:
    """All second sources of a module, and the values that it offers to a person.

    Args:
        ports: The module's ports.
        now_usec: Returns master time in µs.
        log: The module's log.
    """

    def __init__(self, ports: Reporting, now_usec: Callable[[], int], log: logging.Logger) -> None:
        self._values = WorkerInput(PortSpec(VALUES_PORT, DataType.ControlCommand))
        """What takes changes of values; nothing is connected to it."""
        self.frozen = False
        """Whether `start()` has returned: who watches the run knows all values by then."""
        second = {port.beside: port.id for port in ports.spec.inputs if port.beside}
        firsts = {**ports.inputs, VALUES_PORT: self._values}
        self.of_values = {
            port_id: ports.inputs_beside[port_id]
            for beside, port_id in second.items()
            if beside == VALUES_PORT
        }
        """The input of changes of values by its id, if a person may make any."""
        self._shown = [ports.outputs_beside[port_id].metadata for port_id in self.of_values]
        self._all = [
            SecondSource(
                firsts[beside],
                ports.inputs_beside[port_id],
                ports.outputs_beside[port_id],
                now_usec,
                log,
            )
            for beside, port_id in second.items()
        ]

    def refuses(self, error: BaseException | str) -> bool:
        """Take an error of a handler as the refusal of its item; False for any other error."""
        return any(each.refuses(error) for each in self._all)

    def refuse(self, why: str) -> None:
        """See `ModuleContext.refuse`."""
        for each in self._all:
            each.refuse(why)

    def offer(self, values: Sequence[Settable], take: Callable[[ControlCommand], object]) -> None:
        """See `ModuleContext.offer`.

        Raises:
            ModuleError: `start()` has returned.
        """
        if self.frozen:
            raise ModuleError(
                "values are offered before start() has returned: the page of the run knows no later"
                " ones",
                remedy="Call offer() where the script is loaded, in prepare() or in start().",
            )
        self._values.on_item = take
        for metadata in self._shown:
            metadata[CONTROLS] = [each.plain() for each in values]
