"""The module type of the tap; light to import: `module` is loaded in the tap's worker only."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.types import DataType

TAP_NAME = "mlink-tap"
"""Module type, and name of the module in the bench: no bench of a user's has that name."""
VIEW_NAME = "mlink-view"
"""The same of the tap of a view."""
COMMANDS = "view-commands"
"""Dataset of what people have commanded by a view."""


class TapStream(msgspec.Struct, frozen=True):
    """A stream to subscribe to: "module.port", and its type."""

    stream: str
    data_type: DataType


class TapSettings(ModuleSettings, kw_only=True):
    """Settings of a tap, made by `mlink.tap.attach.add_tap`; a bench file cannot give them."""

    socket: str
    """Path of the Unix socket at which the subscriber listens."""
    streams: tuple[TapStream, ...] = ()
    driven: tuple[str, ...] = ()
    """Boards whose lines the subscriber drives, each by an output "drive-BOARD"."""
    commanded: tuple[TapStream, ...] = ()
    """Inputs, "module.port", that a person may command, each by an output of that name."""


def _tap_ports(settings: TapSettings) -> Ports:
    inputs = (PortSpec(each.stream, each.data_type) for each in settings.streams)
    outputs = [PortSpec(drive_port(name), DataType.LineCommand) for name in settings.driven]
    outputs += [PortSpec(each.stream, each.data_type) for each in settings.commanded]
    return tuple(inputs), tuple(outputs)


def drive_port(board: str) -> str:
    """Return the id of the tap's output that drives a board."""
    return f"drive-{board}"


def beside_port(port: str) -> str:
    """Return the id of what a tap commands an input by, and of the output that answers."""
    return f"{port}@view"


tap_type = ModuleType(
    id=TAP_NAME,
    title="Tap",
    summary="Forwards what flows on a run's streams to a test or a view.",
    category=Category.WRITER,
    settings=TapSettings,
    implementation="mlink.tap.module:TapModule",
    ports=_tap_ports,
    virtual_time=True,
)

view_type = replace(
    tap_type,
    id=VIEW_NAME,
    title="View",
    summary="Forwards what flows on a run's streams to the bench in a browser.",
    implementation="mlink.view.run.feed:FeedModule",
)
"""The tap of a view: it never waits for it, and forwards the newest."""
