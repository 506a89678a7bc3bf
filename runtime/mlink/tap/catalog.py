"""The module type `hil-tap`; light to import."""

from __future__ import annotations

import msgspec

from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.types import DataType

TAP_NAME = "hil-tap"


class TapStream(msgspec.Struct, frozen=True):
    """A stream to listen to: "module.port", and its type."""

    stream: str
    data_type: DataType


class TapSettings(ModuleSettings, kw_only=True):
    """Settings of `hil-tap`, made by the test process."""

    socket: str
    """Path of the Unix socket at which the test process listens."""
    streams: tuple[TapStream, ...] = ()
    testers: tuple[str, ...] = ()
    """Boards whose lines the test drives, each by an output "drive-NAME"."""


def _tap_ports(settings: TapSettings) -> Ports:
    inputs = (PortSpec(each.stream, each.data_type) for each in settings.streams)
    outputs = (PortSpec(drive_port(name), DataType.LineCommand) for name in settings.testers)
    return tuple(inputs), tuple(outputs)


def drive_port(tester: str) -> str:
    """Return the id of the tap's output that drives a tester board."""
    return f"drive-{tester}"


hil_tap = ModuleType(
    id=TAP_NAME,
    title="Tap",
    summary="Tells a test process what flows; put into a bench by the pytest plugin.",
    category=Category.WRITER,
    settings=TapSettings,
    implementation="mlink.tap.module:TapModule",
    ports=_tap_ports,
)
