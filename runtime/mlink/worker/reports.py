"""What a worker reports to its engine: failures, requests, figures, hints, counts of streams."""

from __future__ import annotations

import time

from mlink import control
from mlink.channel import Channel
from mlink.control import EngineMessages
from mlink.errors import ControlError
from mlink.worker.failure import describe
from mlink.worker.input_port import WorkerInput
from mlink.worker.output_port import WorkerOutput
from mlink.worker_spec import WorkerSpec

_STATUS_PERIOD_S = 0.25


class Reporting:
    """A worker's ports and what it reports; base of the hosts of modules.

    Args:
        spec: The worker's spec.
        channel: The control channel to the engine.
    """

    def __init__(self, spec: WorkerSpec, channel: Channel[EngineMessages]) -> None:
        self.spec = spec
        self.inputs = {port.id: WorkerInput(port) for port in spec.inputs if not port.beside}
        self.outputs = {port.id: WorkerOutput(port) for port in spec.outputs if not port.beside}
        self.inputs_beside = {port.id: WorkerInput(port) for port in spec.inputs if port.beside}
        self.outputs_beside = {port.id: WorkerOutput(port) for port in spec.outputs if port.beside}
        self.started = False
        self._in_a_fork = False
        self._channel = channel
        self._status_text = ""
        self._next_status = 0.0

    @property
    def all_inputs(self) -> list[WorkerInput]:
        """The module's inputs, and those beside them."""
        return [*self.inputs.values(), *self.inputs_beside.values()]

    @property
    def all_outputs(self) -> list[WorkerOutput]:
        """The module's outputs, and those beside them."""
        return [*self.outputs.values(), *self.outputs_beside.values()]

    def input(self, port_id: str) -> WorkerInput:
        """Return an input, also one beside another."""
        return self.inputs.get(port_id) or self.inputs_beside[port_id]

    def cut_off(self) -> None:
        """Take no further part in the run: this is a fork of the module's process."""
        for receiving in self.all_inputs:
            receiving.cut_off()
        for sending in self.all_outputs:
            sending.cut_off()
        self._channel.cut_off()
        self._in_a_fork = True

    def send_failure(self, error: BaseException | str, phase: str) -> None:
        """Send a failure to the engine, as texts for the user."""
        found = describe(error, debug=self.spec.debug)
        self._try_send(
            control.Failed(
                phase=phase,
                message=control.cut(found.message),
                remedy=control.cut(found.remedy),
                detail=control.cut(found.detail),
            )
        )

    def request_stop(self, reason: str) -> None:
        """Request the end of the run, as a success.

        The module runs on until the engine's Stop arrives.
        """
        self._try_send(control.StopRequest(control.cut(reason)))

    def set_status(self, text: str) -> None:
        """Set the module's status text, sent with its next counts.

        Texts longer than `control.TEXT_LIMIT` are truncated.
        """
        self._status_text = control.cut(text)

    def report(self, key: str, value: float | str) -> None:
        """Send a figure for the summary and the recording.

        Args:
            key: Name of the figure; a later value replaces an earlier one.
            value: A number, or a text.
        """
        text = control.cut(value) if isinstance(value, str) else value
        self._try_send(control.Report(control.cut(key), text))

    def hint(self, text: str) -> None:
        """Send a hint for the summary of a run that succeeds."""
        self._try_send(control.Hint(control.cut(text)))

    def note_loss(self, what: str, remedy: str) -> None:
        """Send a loss that is no gap of a stream."""
        self._try_send(control.Loss(control.cut(what), control.cut(remedy)))

    def sent_counts(self) -> dict[str, int]:
        """Return the number of items sent, by output."""
        return {port.id: port.sent for port in self.all_outputs}

    def lost_counts(self) -> dict[str, list[int]]:
        """Items that did not get into each subscription, by output."""
        return {port.id: port.lost for port in self.all_outputs if port.connected}

    def skipped_counts(self) -> dict[str, int]:
        """Return the number of items lost before they could be sent, by output."""
        return {port.id: port.skipped for port in self.all_outputs if port.skipped}

    def received_counts(self) -> dict[str, control.InputCount]:
        """Return the counts of received and lost items, by connected input."""
        return {port.id: port.count for port in self.all_inputs if port.source}

    def _send_status_when_due(self) -> None:
        now = time.monotonic()
        if now < self._next_status or not self.started:
            return
        self._next_status = now + _STATUS_PERIOD_S
        self._try_send(
            control.Status(
                self.sent_counts(),
                self.received_counts(),
                self._status_text,
                self.lost_counts(),
                self.skipped_counts(),
                max((port.slowest_s for port in self.all_inputs), default=0.0),
            )
        )

    def _try_send(self, message: control.WorkerMessage) -> None:
        try:
            self._channel.send(message)
        except ControlError:
            if self._in_a_fork and not isinstance(message, control.Failed):
                raise
            # Otherwise the engine has gone: the loop reads the end of the channel.
