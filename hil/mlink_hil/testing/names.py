"""Finds the board, camera, stream or channel that a test means, with or without a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mlink.bench import Bench
from mlink.bench.module import ModuleConfig
from mlink.errors import BenchError
from mlink.metadata import Metadata
from mlink.module import Category
from mlink.proposals import proposal
from mlink.types import DataType
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks


class Names:
    """Looks names up in a run; implements `patterns.Channels`.

    Every method raises BenchError when there is no such thing, or several and no name was given.

    Args:
        bench: The bench.
        is_virtual: Returns whether a device is a virtual board that is connected.
        metadata: Stream → its metadata; may be filled later.
        wires: A line of the bench → the tester's line wired to it, both "device.line".
    """

    def __init__(
        self,
        bench: Bench,
        is_virtual: Callable[[str], bool],
        metadata: Mapping[str, Metadata],
        wires: Mapping[str, str],
    ) -> None:
        self._modules = bench.modules
        self._is_virtual = is_virtual
        self._metadata = metadata
        self.wires = wires

    def board(self, name: str | None = None) -> str:
        """Return the device of a board or a chip.

        Args:
            name: Its own name or its module's; None for the only board that is no tester.
        """
        _check_name(name, "board")
        if name is not None and self._is_virtual(name):
            return name
        boards = {
            module.device or module.name: module
            for module in self._modules.values()
            if module.type.category is Category.DEVICE
            and any(port.data_type is DataType.LineReading for port in module.outputs)
            and (module.device or module.name) not in self.testers()
        }
        for device, module in boards.items():
            if name == module.name:
                return device
        return _one(name, boards, "board")

    def line_channel(self, line: int, board: str | None) -> str:
        """Return the channel on which a line's edges have the best times.

        That is the tester's line where one is wired, the pin itself of a virtual board, and else
        what the board reports.

        Args:
            line: Number of the line.
            board: Device or module of the board; None for the only one.
        """
        device = self.board(board)
        if wired := self.wires.get(f"{device}.{line}"):
            tester, _, number = wired.partition(".")
            return f"{self._reading_stream(tester)}.{number}"
        if self._is_virtual(device):
            return f"{device}.{line}"
        return f"{self._reading_stream(device)}.{line}"

    def reading_channel(self, line: int, board: str | None) -> str:
        """Return the channel of a board's own reports on a line.

        Args:
            line: Number of the line.
            board: Device or module of the board, which may be a tester; None for the only one.
        """
        tester = board is not None and board in self.testers()
        device = board if tester and board is not None else self.board(board)
        return f"{self._reading_stream(device)}.{line}"

    def frame_stream(self, camera: str | None = None) -> str:
        """Return the stream of a camera's frames.

        Args:
            camera: Its module, device or stream; None for the only camera.
        """
        _check_name(camera, "camera")
        streams = self._streams(DataType.Frame)
        if camera in streams:
            return camera
        by_name: dict[str, str] = {}
        for stream, module in streams.items():
            if camera is None and module.type.category is not Category.DEVICE:
                continue
            by_name[module.name] = stream
            if camera is not None and module.device == camera:
                return stream
        return by_name[_one(camera, by_name, "camera")]

    def frame_streams(self) -> list[str]:
        """Return the streams of frames of all cameras."""
        return [
            stream
            for stream, module in self._streams(DataType.Frame).items()
            if module.type.category is Category.DEVICE
        ]

    def line_streams(self) -> set[str]:
        """Return the streams of readings and of commands."""
        return {*self._streams(DataType.LineReading), *self._streams(DataType.LineCommand)}

    def row_stream(self, table: str | None = None) -> str:
        """Return a stream of rows.

        Args:
            table: The stream ("loop.table-out") or its module; None for the only one of a script.
        """
        streams = self._streams(DataType.TableRow)
        if table is not None and table not in streams:
            own = [stream for stream, module in streams.items() if module.name == table]
            if len(own) == 1:
                return own[0]
        if table is None:  # boards have several tables of their own; a script's is meant
            streams = {
                stream: module
                for stream, module in streams.items()
                if module.type.category is Category.SCRIPT
            }
        return _one(table, streams, "stream of rows")

    def columns(self, stream: str) -> list[str]:
        """Return the names of a row stream's columns; empty when it has no header."""
        header = self._metadata.get(stream, {}).get("table_header", [])
        return [str(name) for name in header] if isinstance(header, list) else []

    def _reading_stream(self, device: str) -> str:
        for stream, module in self._streams(DataType.LineReading).items():
            if device in (module.device, module.name) and module.type.category is Category.DEVICE:
                return stream
        raise BenchError(f"no module of this bench reports the lines of '{device}'")

    def _streams(self, kind: DataType) -> dict[str, ModuleConfig]:
        return {
            f"{module.name}.{port.id}": module
            for module in self._modules.values()
            for port in module.outputs
            if port.data_type is kind
        }

    def testers(self) -> set[str]:
        """Return the boards that are wired to lines of the bench."""
        return {wired.partition(".")[0] for wired in self.wires.values()}


def _check_name(name: object, what: str) -> None:
    if name is not None and not isinstance(name, str):
        raise BenchError(
            f"{what}({name!r}): a name is needed, a text",
            remedy=f"Write the name of the {what} as in the bench file, or None for the only one.",
        )


def _one(name: str | None, known: Iterable[str], what: str) -> str:
    """Return the named one, or the only one without a name; BenchError otherwise."""
    names = list(known)
    if name is None:
        if len(names) == 1:
            return names[0]
        if not names:
            raise BenchError(f"this bench has no {what}", remedy="Look at the bench file.")
        raise BenchError(
            f"this bench has more than one {what}", remedy=f"Name one of: {', '.join(names)}."
        )
    if name not in names:
        raise BenchError(f"this bench has no {what} '{name}'", remedy=proposal(name, names, what))
    return name
