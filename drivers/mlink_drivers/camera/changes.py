"""Changes of controls during a run, by commands such as "exposure=5000".

Each change, and each loss and return of the camera, becomes a table row with its master time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence

from mlink.clock import Clock
from mlink.metadata import CONTROLS, Settable
from mlink.module import InputPort, OutputPort
from mlink.types import ControlCommand, ControlCommandKind
from mlink_drivers.camera.backend import Answer, ControlValue

HEADER = ["time_usec", "control", "asked", "got"]
CONNECTION = "connection"
"""Entry of the column `control` in rows about a loss and the return of the camera."""
_SETTING = re.compile(r"(?P<control>[^=\[]*[^=\[\s](?:\[[^\]]*\])?)\s*=\s*(?P<value>.+)", re.DOTALL)
"""A control, whose name may have selectors: "LineInverter[LineSelector=Line2] = true"."""
_MOST_CONTROLS = 64
_BOOLEANS = {"true": True, "false": False}


class Changes:
    """Handles commands of `control-in`, and sends rows on `changes`.

    A row is [master time in µs, control, asked, got].

    Args:
        inputs: Input ports of the module, with `control-in`.
        output: Port `changes`.
        clock: Master clock.
        log: Logger of the module.
        adjust: Sets a control of the camera and reads it back.
        controls: The controls that the camera has, for people who set them.
        refuse: Answers the person who gave a command with why it is not carried out.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputPort],
        output: OutputPort,
        clock: Clock,
        log: logging.Logger,
        adjust: Callable[[str, ControlValue], Answer],
        controls: Sequence[Settable] = (),
        refuse: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self.count = 0
        self._output = output
        self._clock = clock
        self._log = log
        self._adjust = adjust
        self._refuse = refuse
        output.metadata["table_header"] = list(HEADER)
        if controls:
            output.metadata[CONTROLS] = [each.plain() for each in controls[:_MOST_CONTROLS]]
        inputs["control-in"].on_item = self._on_command

    def connection(self, state: str) -> None:
        """Add a row for a camera that is "lost" or "open" again; called in the capture thread."""
        self._add(CONNECTION, "", state)

    def _on_command(self, command: ControlCommand) -> None:
        """Apply the settings of a command's text, which are separated by ';' or ','."""
        if command.kind != ControlCommandKind.CUSTOM:
            name = ControlCommandKind(command.kind).name
            text = f'a camera accepts CUSTOM commands such as "exposure=5000": {name} ignored'
            self._log.warning("%s", text)
            self._refuse(text)
            return
        for part in command.command.replace(",", ";").split(";"):
            match = _SETTING.fullmatch(part.strip())
            if match is None:
                text = f'invalid command "{command.command}" for a camera: write, for example, '
                self._log.warning("%s", text := text + '"exposure=5000"')
                self._refuse(text)
                continue
            answer = self._adjust(match["control"], parse_value(match["value"]))
            (self._log.info if answer.same else self._log.warning)("%s", answer)
            if not answer.same:
                self._refuse(f"{answer}")
            self._add(answer.setting, answer.asked, answer.got)

    def _add(self, control: str, asked: str, got: str) -> None:
        self.count += 1
        self._output.submit([str(self._clock.now_usec()), control, asked, got])


def parse_value(text: str) -> ControlValue:
    """Return the number or boolean that a text represents, else the text itself.

    Booleans are recognised in any case ("True"), whole numbers before decimal ones.
    """
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
