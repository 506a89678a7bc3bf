"""Commands to a camera during a run: what it offers, what becomes of each, and refusals."""

from __future__ import annotations

import logging

import pytest

from mlink.clock import ManualClock
from mlink.metadata import Settable
from mlink.types import ControlCommand, ControlCommandKind
from mlink_drivers.camera.backend import Answer
from mlink_drivers.camera.changes import Changes


class Port:
    """An input and an output."""

    def __init__(self) -> None:
        self.metadata: dict[str, object] = {}
        self.rows: list[list[str]] = []
        self.submit = self.rows.append
        self.on_item = None


def adjust(name, value):
    if name != "gain":
        return Answer(name, str(value), "no such control on this camera")
    return Answer(name, str(value), str(min(value, 100)), value <= 100)


@pytest.fixture
def camera():
    ports, refused = {"control-in": Port(), "changes": Port()}, []
    Changes(
        ports, ports["changes"], ManualClock(7), logging.getLogger("camera"), adjust,
        [Settable("gain", 35, 0, 100, 5, "dB")], refused.append,
    )  # fmt: skip
    return ports, refused


def test_its_controls_are_in_the_metadata_of_its_changes(camera):
    ports, _ = camera
    offered = {"name": "gain", "value": 35, "minimum": 0, "maximum": 100, "step": 5, "unit": "dB"}
    assert ports["changes"].metadata["controls"] == [offered]


@pytest.mark.parametrize(
    ("text", "rows", "why"),
    [
        ("gain=40", [["7", "gain", "40", "40"]], []),
        ("gain=400", [["7", "gain", "400", "100"]], ["gain: asked 400, got 100"]),
        ("zoom=2", [["7", "zoom", "2", "no such control on this camera"]], ["no such control"]),
        ("gain", [], ['invalid command "gain" for a camera']),
    ],
)
def test_who_gave_a_command_learns_that_it_is_not_carried_out(camera, text, rows, why):
    ports, refused = camera
    ports["control-in"].on_item(ControlCommand(ControlCommandKind.CUSTOM, command=text))
    assert ports["changes"].rows == rows
    assert len(refused) == len(why)
    assert all(each in found for each, found in zip(why, refused, strict=True))


def test_commands_of_another_kind_are_refused(camera):
    ports, refused = camera
    ports["control-in"].on_item(ControlCommand(ControlCommandKind.START))
    assert "START ignored" in refused[0]
