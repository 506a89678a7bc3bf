"""Selects the recorded dataset or journal that replaces each output of a bench's sources."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlink.bench import Bench, ModuleConfig
from mlink.bench.module import Connection
from mlink.errors import BenchError
from mlink.module import VALUES_PORT, Category, PortSpec
from mlink.modules.replay.catalog import IMPLEMENTATION, ReplaySettings, ReplayStream
from mlink.modules.replay.feeds import has_times
from mlink.proposals import proposal
from mlink.recording.collection import Recording
from mlink.recording.journal.reading import Journal
from mlink.recording.stream import RecordedStream
from mlink.recording.table import Table
from mlink.storage.failures import printable
from mlink.tap.catalog import COMMANDS, VIEW_NAME, TapSettings, beside_port, view_type
from mlink.transport.codec import is_small
from mlink.types import DataType

_SOURCES = (Category.DEVICE, Category.GENERATOR)
_PASSIVE = (Category.WRITER, Category.DISPLAY)

_KINDS = {
    DataType.Frame: ("video",),
    DataType.TableRow: ("table", "json"),
    DataType.LineReading: ("zarr", "json"),
    DataType.SignalBlockF32: ("zarr", "json"),
    DataType.SignalBlockI32: ("zarr", "json"),
    DataType.SignalBlockU16: ("zarr", "json"),
}
"""Kinds of datasets that can contain a stream, exact ones first (JSON has no NaN)."""

_RECORDERS = {
    DataType.Frame: 'type = "videorecorder"',
    DataType.TableRow: 'type = "table"',
}


@dataclass(slots=True)
class Plan:
    """A bench with its sources replaced.

    `bench` has the same modules and connections; only types and settings of sources differ.
    """

    bench: Bench
    notes: list[str] = field(default_factory=list)
    """Known differences from the recorded run."""
    replayed: frozenset[str] = frozenset()
    """Modules whose streams come from the recording."""


def plan_replay(
    bench: Bench,
    recording: Recording,
    journals: Mapping[str, Journal],
    without: Collection[str] = (),
    *,
    whole: bool = True,
) -> Plan:
    """Replace the sources of a bench by recorded streams.

    Args:
        bench: The bench.
        recording: The recording to replay.
        journals: Its journals, by the names of their datasets.
        without: Streams ("module.port") and modules that may stay silent.
        whole: Whether the recording is replayed to its end.

    Raises:
        BenchError: A stream that a module needs was not recorded, or `without` has a wrong name.
    """
    _check_names(bench, without)
    plan = Plan(bench)
    missing: list[tuple[ModuleConfig, PortSpec]] = []
    modules: dict[str, ModuleConfig] = {}
    for name, module in bench.modules.items():
        if module.type.category not in _SOURCES:
            modules[name] = module
            continue
        streams: dict[str, ReplayStream] = {}
        for port in module.outputs:
            if not _subscribers(bench, name, port.id):
                continue
            stream = f"{name}.{port.id}"
            found = _find(recording, module, port)
            journal = _find_journal(journals, stream, port)
            if journal and (found is None or found.lost):
                streams[port.id] = ReplayStream(journal, stream)
            elif found is not None:
                takers = _receivers(journals, stream, port)
                streams[port.id] = ReplayStream(found.name, stream, takers)
                plan.notes += _differences(stream, found)
                if port.data_type is DataType.TableRow and not journal and not has_times(found):
                    plan.notes.append(
                        f"the rows of {stream} were recorded without times: all come at the start"
                    )
                recording.release(found.name)  # its rows may be many
            elif not {name, f"{name}.{port.id}"} & set(without):
                if _needed(bench, name, port.id):
                    missing.append((module, port))
                else:
                    plan.notes.append(f"{name}.{port.id} was not recorded: it stays silent")
        modules[name] = _replayed(module, recording.path, streams, whole=whole)
    if missing:
        raise _not_recorded(missing, recording)
    plan.replayed = frozenset(
        name for name, module in bench.modules.items() if module.type.category in _SOURCES
    )
    if _add_changes_of_values(modules, recording, journals, whole=whole):
        plan.replayed |= {VIEW_NAME}
    elif _set_by_hand(recording):
        plan.notes.append(
            f"values of scripts were set by hand: `{COMMANDS}` has them, but no journal; the replay"
            " has the values of the start"
        )
    plan.bench = replace(bench, modules=modules)
    return plan


def _add_changes_of_values(
    modules: dict[str, ModuleConfig],
    recording: Recording,
    journals: Mapping[str, Journal],
    *,
    whole: bool,
) -> bool:
    """Let scripts get the changes of their values, which their journals have, from the recording.

    They get a module in place of the view by which people have made them.

    Returns:
        Whether there are any.
    """
    streams: dict[str, ReplayStream] = {}
    for dataset, journal in journals.items():
        module = modules.get(journal.header.module)
        if module is None or module.type.category is not Category.SCRIPT:
            continue
        for known in journal.header.inputs:
            output = f"{module.name}.{VALUES_PORT}"
            if (
                (known.id, known.source) != (beside_port(VALUES_PORT), f"{VIEW_NAME}.{output}")
                or known.data_type != DataType.ControlCommand.name
                or output in streams
            ):
                continue
            streams[output] = ReplayStream(dataset, known.source)
            change = PortSpec(known.id, DataType.ControlCommand, beside=VALUES_PORT)
            answer = PortSpec(known.id, DataType.TableRow, beside=VALUES_PORT)
            modules[module.name] = replace(
                module,
                connections=(*module.connections, Connection(known.id, VIEW_NAME, output)),
                inputs=(*module.inputs, change),
                outputs=(*module.outputs, answer),
            )
    if streams:
        outputs = tuple(PortSpec(output, DataType.ControlCommand) for output in streams)
        settings = TapSettings(socket="")
        view = ModuleConfig(VIEW_NAME, view_type, settings, None, (), (), outputs)
        modules[VIEW_NAME] = _replayed(view, recording.path, streams, whole=whole)
    return bool(streams)


def _set_by_hand(recording: Recording) -> bool:
    """Return whether people have set values of scripts in the recorded run."""
    if COMMANDS not in recording:
        return False
    commands = recording[COMMANDS]
    return isinstance(commands, Table) and any(
        len(row) > 2 and row[1] and row[2].endswith(f".{VALUES_PORT}") for row in commands.rows
    )


def _replayed(
    module: ModuleConfig, recording: Path, streams: dict[str, ReplayStream], *, whole: bool
) -> ModuleConfig:
    """Return the module that replaces a source, with the same name, ports and type name."""
    kind = replace(
        module.type,
        settings=ReplaySettings,
        implementation=IMPLEMENTATION,
        program=None,
        uses_device=False,
    )
    settings = ReplaySettings(recording=str(recording.resolve()), streams=streams, whole=whole)
    return replace(module, type=kind, settings=settings, device=None)


def _find(recording: Recording, module: ModuleConfig, port: PortSpec) -> RecordedStream | None:
    """Return the best dataset of a stream: with the fewest losses, lossless, of an exact kind."""
    kinds = _KINDS.get(port.data_type, ())
    candidates = []
    for name, kind in recording.kinds.items():
        dataset = recording[name]
        stream = dataset.attributes.get("stream", {})
        if (
            stream.get("src_mod_name") == module.name
            and stream.get("src_mod_port_title") == (port.title or port.id)
            and kind in (*kinds, "empty")
            and _has_all_channels(dataset)
        ):
            rank = kinds.index(kind) if kind in kinds else len(kinds)
            absent = dataset.lost + int(dataset.attributes.get("frames_skipped", 0))
            candidates.append((absent, not _is_lossless(dataset), rank, name))
    return recording[min(candidates)[-1]] if candidates else None


def _has_all_channels(dataset: RecordedStream) -> bool:
    """Return whether all named channels of a signal stream were recorded."""
    names = dataset.attributes.get("stream", {}).get("signal_names")
    return not names or dataset.attributes.get("signal_names", names) == names


def _find_journal(journals: Mapping[str, Journal], stream: str, port: PortSpec) -> str:
    """Return the name of the journal that contains a stream of small items, or ""."""
    return next(iter(_receivers(journals, stream, port)), "") if is_small(port.data_type) else ""


def _receivers(journals: Mapping[str, Journal], stream: str, port: PortSpec) -> tuple[str, ...]:
    """Return the names of the journals of modules that received a stream."""
    return tuple(
        name
        for name, journal in journals.items()
        if any(
            known.source == stream and known.data_type == port.data_type.name
            for known in journal.header.inputs
        )
    )


def _is_lossless(dataset: RecordedStream) -> bool:
    return bool(dataset.attributes.get("encoder", {}).get("lossless", True))


def _differences(stream: str, dataset: RecordedStream) -> list[str]:
    """Return how a dataset differs from its stream."""
    attributes = dataset.attributes
    differences = []
    if dataset.lost:
        differences.append(f"{dataset.lost} items of {stream} did not reach the recorder")
    if attributes.get("frames_skipped"):
        differences.append(
            f"{attributes['frames_skipped']} frames of {stream} were not recorded: "
            "the recorder was paused or stopped"
        )
    if not _is_lossless(dataset):
        codec = attributes["encoder"].get("codec", "?")
        differences.append(
            f"the pictures of {stream} were encoded with {codec}, which changes them slightly"
        )
    if attributes.get("values_not_finite"):
        differences.append(
            f"{attributes['values_not_finite']} values of {stream} were NaN or infinite, which "
            "this older recording does not distinguish"
        )
    if "video" in attributes and "source_index_first" not in attributes:
        differences.append(f"the frame numbers of {stream} were not recorded: they start at 0")
    return differences


def _subscribers(bench: Bench, module: str, port: str) -> list[ModuleConfig]:
    return [
        subscriber
        for subscriber in bench.modules.values()
        for connection in subscriber.connections
        if (connection.source_module, connection.source_port) == (module, port)
    ]


def _needed(bench: Bench, module: str, port: str) -> bool:
    """Return whether a module other than recorders, views and sources subscribes."""
    return any(
        subscriber.type.category not in (*_PASSIVE, *_SOURCES)
        for subscriber in _subscribers(bench, module, port)
    )


def _not_recorded(missing: list[tuple[ModuleConfig, PortSpec]], recording: Recording) -> BenchError:
    streams = [f"{module.name}.{port.id}" for module, port in missing]
    _, port = missing[0]
    recorder = _RECORDERS.get(
        port.data_type, f'type = "jsonwriter" and input_type = "{port.data_type.name}"'
    )
    known = {
        f"{printable(str(stream['src_mod_name']))} "
        f"“{printable(str(stream.get('src_mod_port_title', '')))}”"
        for name in recording
        if "src_mod_name" in (stream := recording[name].attributes.get("stream", {}))
    }
    return BenchError(
        f"{recording.path} lacks streams that modules of this bench need: "
        f"{', '.join(streams)} {'was' if len(streams) == 1 else 'were'} not recorded"
        f" (it contains streams of: {', '.join(sorted(known)) or 'none'})",
        remedy="Record with `mlink run --replayable`, or with a recorder on that stream: "
        f"a module of {recorder} with an input from "
        f'"{streams[0]}". Or let it stay silent: --without {streams[0]}.',
    )


def _check_names(bench: Bench, without: Collection[str]) -> None:
    known = {
        name
        for module in bench.modules.values()
        if module.type.category in _SOURCES
        for name in (module.name, *(f"{module.name}.{port.id}" for port in module.outputs))
    }
    for name in without:
        if name not in known:
            raise BenchError(
                f"--without {name}: the bench has no source or stream of this name",
                remedy=proposal(name, known, "streams"),
            )
