"""Lists the keys of what each command prints with --json, by letting it print samples.

A sample of a type has something in each of its fields, so that every key is printed; "*" is a key
that depends on the data, such as a module's name. What prints is the code of the command itself.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import io
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from typer.testing import CliRunner

from mlink.cli import app
from mlink.cli.campaign import Campaign, campaign_as_json
from mlink.cli.recorded.info import as_plain
from mlink.cli.replay import _as_json as replay_as_json
from mlink.cli.terminal.output import print_json, print_report
from mlink.cli.terminal.summary import result_as_json
from mlink.encoding.recording import EncodeReport
from mlink.engine.status import RunResult
from mlink.hosts.link.listing import ListedHost
from mlink.recording.care.repair import RepairReport
from mlink.recording.care.verify import VerifyReport
from mlink.replay.compare import Compared
from mlink.replay.run import Replayed
from mlink.storage.inspect import RecordingSummary
from mlink.storage.manifest import MANIFEST
from mlink_hil.fuzz.output import account_as_json
from mlink_hil.fuzz.search import Account
from mlink_hil.verify.command import _as_json as timing_as_json
from mlink_hil.verify.timing import Samples

ANY_KEY = "*"


def sample(kind: typing.Any) -> typing.Any:
    """Return a value of a type with something in each field and collection."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return sample(args[0])
    if origin is typing.Literal:
        return args[0]
    if origin in (typing.Union, types.UnionType):
        return sample(next(each for each in args if each is not types.NoneType))
    if origin is not None and issubclass(origin, Mapping):
        return {ANY_KEY: sample(args[1])}
    if origin is tuple:
        return tuple(sample(each) for each in args if each is not Ellipsis)
    if origin in (list, set, frozenset):
        return origin([sample(args[0])])
    if not inspect.isclass(kind):
        return "text"
    if issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return kind(**{field.name: sample(field.type) for field in fields})
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = [field.name for field in dataclasses.fields(kind) if field.init]
        return kind(**{name: sample(hints[name]) for name in fields})
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    return {bool: True, int: 1, float: 1.5, Path: Path("path")}.get(kind, "text")


def _printed(*arguments: str) -> str:
    return CliRunner().invoke(app, [*arguments, "--json"]).stdout


def _list() -> str:
    with TemporaryDirectory() as folder:
        (Path(folder) / MANIFEST).touch()
        return _printed("list", folder)


def _report(kind: type) -> Callable[[], str]:
    def printed() -> str:
        text = io.StringIO()
        with redirect_stdout(text):
            print_report(sample(kind))
        return text.getvalue()

    return printed


def _hosts() -> str:
    text = io.StringIO()
    with redirect_stdout(text):
        print_json({"hosts": [sample(ListedHost)], "released": {ANY_KEY: "owner"}})
    return text.getvalue()


def _verify_timing() -> str:
    minute = Samples("name", [1.0, 2.0], [0, 60_000_000])
    return timing_as_json("bench", {ANY_KEY: minute.summary()})


DOCUMENTS: dict[str, list[Callable[[], str]]] = {
    "run": [
        lambda: result_as_json(sample(RunResult)),
        lambda: campaign_as_json(sample(Campaign)),  # with --repeat
    ],
    "check": [lambda: _printed("check", "no-such-bench")],
    "replay": [lambda: replay_as_json(sample(Replayed), [sample(Compared)])],
    "devices": [lambda: _printed("devices")],
    "doctor": [lambda: _printed("doctor")],
    "modules": [lambda: _printed("modules")],
    "hosts": [_hosts],
    "list": [_list],
    "info": [lambda: json.dumps(as_plain(sample(RecordingSummary)))],
    "verify": [_report(VerifyReport)],
    "repair": [_report(RepairReport)],
    "encode": [_report(EncodeReport)],
    "verify-timing": [_verify_timing],
    "fuzz": [lambda: account_as_json(sample(Account))],
}


def json_keys(command: str) -> set[str]:
    """Return the paths of all keys that a command prints, such as `streams.subscriptions.lost`."""
    return {key for text in DOCUMENTS[command] for key in _paths(json.loads(text()))}


def _paths(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _paths(each, path)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield f"{path}.{key}".removeprefix(".")
            yield from _paths(each, f"{path}.{key}")
