"""The runs of a pytest session: started when a test needs one, shared by the marker's scope."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from mlink.bench import Bench, Time, load_bench
from mlink.bench.virtual_time import needs_real_time
from mlink.engine.options import RunOptions
from mlink.errors import BenchError
from mlink.module import Category
from mlink.types import DataType
from mlink_hil.fuzz.draw import Disturbed, disturb, parse_draw
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks

_SCOPES: dict[str, type[pytest.Collector | pytest.Item] | None] = {
    "function": pytest.Item,
    "class": pytest.Class,
    "module": pytest.Module,
    "package": pytest.Package,
    "session": pytest.Session,
}

_SEED = 1
"""In virtual time: with the test's name it gives the recording's id."""
_FOLDERS_ABOVE = 2
"""A recording is in a folder for its day, in the folder of all recordings."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a test's `bench` marker requests.

    Tests with equal requests share a run within the node of their scope.
    """

    path: Path
    scope: str
    without: tuple[str, ...]
    overrides: tuple[str, ...]
    time: Time | None

    @classmethod
    def of(cls, item: pytest.Item) -> Wanted:
        """Read a test's `bench` marker; without one, take the bench.toml beside its file.

        Raises:
            BenchError: The marker is wrong, or there is neither a marker nor a bench.toml.
        """
        marker = item.get_closest_marker("bench")
        args = marker.args if marker else ()
        options: dict[str, Any] = dict(marker.kwargs) if marker else {}
        path = item.path.parent / (args[0] if args else "bench.toml")
        scope = options.pop("scope", "module")
        without, overrides = options.pop("without", ()), options.pop("set", ())
        kind = options.pop("time", None)
        wrong_kind = kind is not None and kind not in get_args(Time)
        if options or len(args) > 1 or scope not in _SCOPES or wrong_kind:
            raise BenchError(
                f"{item.nodeid}: wrong arguments of the marker `bench`",
                remedy='Write @pytest.mark.bench("bench.toml", scope="module", without=("name",), '
                f'set=("module.key=value",), time="real")); scopes: {", ".join(_SCOPES)}; times: '
                f"{', '.join(get_args(Time))}.",
            )
        if not marker and not path.is_file():
            raise BenchError(
                f"{item.nodeid} uses the fixture `bench`, but has no marker `bench`",
                remedy='Mark it with @pytest.mark.bench("bench.toml").',
            )
        return cls(path, scope, _tuple(without), _tuple(overrides), kind)


class Runs:
    """All runs of this session, by what was requested and for which node.

    A run that has ended or failed is replaced when the next test wants it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._runs: dict[tuple[Wanted, str], BenchRun] = {}
        self._started = Counter[str]()
        """Node → runs that were started for it."""

    def run_for(self, item: pytest.Item) -> BenchRun:
        """Return the run that a test requests, started if need be.

        Skips the test when a feature of `mlink_needs` is missing.

        Raises:
            BenchError: The marker or the bench file is wrong.
            ModuleError: The run did not start.
        """
        wanted = Wanted.of(item)
        node = _node(item, wanted.scope)
        key = (wanted, node.nodeid)
        run = self._runs.get(key)
        if run is not None:
            _skip_unless(item, run.bench)
            if run.alive and not run.engine.failures:
                return run
            self._close(key)  # a test has ended it, or it has failed
        bench, why, disturbed = self._load(wanted)
        _skip_unless(item, bench)
        options = self._options(bench, node.nodeid)
        run = self._runs[key] = BenchRun(
            bench, disturbed.options(options) if disturbed else options
        )
        run.kind_of_time = f"{bench.time} time{why}"
        node.addfinalizer(lambda: self._close(key))
        run.start()
        return run

    def _load(self, wanted: Wanted) -> tuple[Bench, str, Disturbed | None]:
        """Return the bench with its kind of time, and why it is that, as the end of a sentence.

        The option comes before the marker, and the marker before the bench file. Without any of
        them time is virtual where nothing of the bench needs real time. With `--mlink-fuzz` the
        bench is one that a seed has disturbed.
        """
        option = self._config.getoption
        devices, seed = option("--mlink-devices"), option("--mlink-fuzz")
        overrides = (*wanted.overrides, *option("--mlink-set"))
        path = Path(devices) if devices else None
        asked: Time | None = option("--mlink-time") or wanted.time
        # In real time nothing is refused: what is refused may be left out.
        time: Time | None = None if asked is None else "real"
        if seed is None:
            found = None
            bench = load_bench(wanted.path, devices=path, overrides=overrides, time=time)
        else:
            found = disturb(wanted.path, parse_draw(seed), devices=path, overrides=overrides)
            bench = found.bench
        bench = leave_out(bench, wanted.without)
        if (kind := asked or bench.time) is not None:
            return replace(bench, time=kind), "", found
        if reasons := needs_real_time(bench):
            why = f" ({'; '.join(each.what for each in reasons)})"
            return replace(bench, time="real"), why, found
        return replace(bench, time="virtual"), "", found

    def _options(self, bench: Bench, node: str) -> RunOptions:
        option: Callable[[str], Any] = self._config.getoption
        report, out = option("--mlink-report"), option("--mlink-out")
        directory = Path(out or (f"{report}/recordings" if report else "recordings"))
        options = RunOptions(out_dir=directory, record=option("--mlink-record") != "never")
        if bench.time == "real":
            return options
        self._started[node] += 1
        seed = _SEED if bench.seed is None else bench.seed
        key = f"{node} {self._started[node]}{option('--mlink-fuzz') or ''}"
        return options.in_time_of(bench, seed=seed, key=key)

    def _close(self, key: tuple[Wanted, str]) -> None:
        """End a run; what failed in it since its last test is an error of the clean-up.

        Raises:
            MlinkError: The run has failed, and no test has reported that.
        """
        run = self._runs.pop(key, None)
        if run is None:
            return
        run.stop()
        try:
            run.check_end()
        except Exception:
            run.keep_recording = True
            raise
        finally:
            self._keep_or_remove(run)
        if run.in_turns and run.result is not None:
            for hint in run.result.hints:  # among them lines that make two runs differ
                warnings.warn(hint, UserWarning, stacklevel=1)

    def _keep_or_remove(self, run: BenchRun) -> None:
        """Encode the recording of a run that has ended, or remove it, as the user wants."""
        if run.result is None or run.result.recording_dir is None:
            return
        always = self._config.getoption("--mlink-record") == "always"
        if not always and not run.keep_recording:
            _remove(run.result.recording_dir)
        else:
            run.encode()


def _remove(recording: Path) -> None:
    """Remove a recording, and the folders above it that are empty then."""
    shutil.rmtree(recording, ignore_errors=True)
    for folder in recording.parents[:_FOLDERS_ABOVE]:
        try:
            folder.rmdir()
        except OSError:
            return  # other recordings are there


def leave_out(bench: Bench, names: tuple[str, ...]) -> Bench:
    """Return a bench without some modules, and without the connections from them.

    Raises:
        BenchError: There is no such module.
    """
    for name in names:
        if name not in bench.modules:
            raise BenchError(
                f"{bench.path} has no module '{name}' to leave out",
                remedy=f"Its modules: {', '.join(bench.modules)}.",
            )
    modules = {
        name: replace(
            module,
            connections=tuple(c for c in module.connections if c.source_module not in names),
        )
        for name, module in bench.modules.items()
        if name not in names
    }
    return replace(bench, modules=modules)


def features(bench: Bench) -> dict[str, str]:
    """Return the features that tests can require by the marker `mlink_needs`.

    Returns:
        Feature → why it is missing; "" where the bench has it.
    """
    specs: dict[bool, list[str]] = {True: [], False: []}
    for name, spec in sorted(bench.used_devices().items()):
        specs[spec.startswith("virtual:")].append(f"{name} is {spec}")
    has_avr = importlib.util.find_spec("yasimavr") is not None
    return {
        "simulated": ", ".join(specs[False]),
        "real": ", ".join(specs[True]),
        "avr": "" if has_avr else "yasimavr is not installed",
        "board": "" if _has(bench, DataType.LineReading) else "the bench has no board",
        "camera": "" if _has(bench, DataType.Frame) else "the bench has no camera",
    }


def _has(bench: Bench, kind: DataType) -> bool:
    return any(
        port.data_type is kind
        for module in bench.modules.values()
        if module.type.category is Category.DEVICE
        for port in module.outputs
    )


def _skip_unless(item: pytest.Item, bench: Bench) -> None:
    missing = features(bench)
    for marker in item.iter_markers("mlink_needs"):
        for feature in marker.args:
            if feature not in missing:
                raise BenchError(
                    f"{item.nodeid}: unknown feature '{feature}' in mlink_needs",
                    remedy=f"Features: {', '.join(missing)}.",
                )
            if reason := missing[feature]:
                pytest.skip(f"needs {feature}: {reason}")


def _node(item: pytest.Item, scope: str) -> pytest.Item | pytest.Collector:
    """Return the node whose end ends the run; without a class that is the module."""
    kind = _SCOPES[scope]
    assert kind is not None
    found = item.getparent(kind)
    return found or item.getparent(pytest.Module) or item


def _tuple(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list | tuple) else ()
