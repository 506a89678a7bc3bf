"""A replay up to what its sources send, in this process: without workers, scripts and turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mlink.bench import Bench
from mlink.engine.options import RunOptions
from mlink.engine.status import RunObserver, RunResult
from mlink.metadata import encode_metadata
from mlink.modules.replay.catalog import ReplaySettings
from mlink.modules.replay.source import ReplayModule
from mlink.replay import Replayed, replay
from mlink.transport.codec import is_small, small_encoder
from mlink.worker.input_port import WorkerInput
from mlink.worker.virtual_time.tape import Tape
from tests.support.fake_context import FakeContext, FakeOutput

Sent = dict[str, list[Any]]


class _Output(FakeOutput):
    def submit(self, item: Any) -> None:
        if is_small(self.data_type):
            small_encoder(self.data_type)(item)
        super().submit(item)


def sent_in_replay(
    recording: Path, bench: Path, folder: Path, until_s: float | None = None
) -> tuple[Sent, Replayed]:
    """Return what the sources of a replay send, by stream, and the replay without a run.

    Raises:
        MlinkError: What `mlink replay` or its sources raise.
    """
    sent: Sent = {}

    def run(bench: Bench, options: RunOptions, _observer: RunObserver) -> RunResult:
        assert options.virtual is not None
        for name in options.virtual.replayed:
            sent.update(_sent_by(bench, name, folder, options.virtual.end_usec))
        for name, path in options.virtual.tapes.items():
            inputs = bench.modules[name].inputs if name in bench.modules else ()
            Tape(Path(path), [WorkerInput(port) for port in inputs], {})
        return RunResult(success=True)

    with patch("mlink.replay.run.run_bench", run):
        outcome = replay(recording, bench=bench, until_s=until_s)
    return sent, outcome


def _sent_by(bench: Bench, name: str, folder: Path, end_usec: int) -> Sent:
    config = bench.modules[name]
    assert isinstance(config.settings, ReplaySettings)
    kind = replace(config.type, ports=None, inputs=config.inputs, outputs=config.outputs)
    context = FakeContext(kind, config.settings, folder, name=name)
    context.outputs = {port.id: _Output(port.id, port.data_type) for port in config.outputs}
    module = ReplayModule(context)  # type: ignore[arg-type]
    try:
        module.prepare()
        for output in context.outputs.values():
            encode_metadata(output.metadata)
        for number in range(len(module._feeds)):
            module._load(number, 0)
        while module._next and module._next[0][0] <= end_usec:
            module._send_next()
        module.stop()
    finally:
        module.close()
    return {f"{name}.{port}": output.items for port, output in context.outputs.items()}
