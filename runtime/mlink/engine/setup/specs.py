"""Makes the spec of each worker: its module, its folders, and the kind of time it runs in."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlink.bench import Bench, ModuleConfig
from mlink.devices import DeviceEndpoint
from mlink.engine.options import RunOptions
from mlink.engine.plan import LOOP_CATEGORIES, LOOP_NICE
from mlink.engine.setup.workdir import RunWorkDir
from mlink.engine.virtual_time.conductor import VirtualTime
from mlink.module import Category
from mlink.worker_spec import WorkerSpec

_JOURNALED = (Category.SCRIPT, Category.PROCESSING)
"""Modules that write a journal: their output depends only on what they receive, and when."""


def worker_spec(
    bench: Bench,
    module: ModuleConfig,
    options: RunOptions,
    work: RunWorkDir,
    *,
    recording_dir: Path | None,
    run_uuid: bytes,
    device: DeviceEndpoint | None,
) -> WorkerSpec:
    """Return the spec of a module's worker, without the descriptors of its streams.

    Args:
        bench: The bench that runs.
        module: The worker's module.
        options: Options of the run.
        work: The run's own folder.
        recording_dir: The collection's folder; None when the run is not recorded.
        run_uuid: The recording's id, 16 bytes.
        device: The opened device of the module, if it uses one.
    """
    virtual, kind, settings = options.virtual, module.type, type(module.settings)
    subject = bench.subject_of(options.subject)
    spec = WorkerSpec(
        name=module.name,
        type_id=kind.id,
        implementation=kind.implementation,
        settings_type=f"{settings.__module__}:{settings.__qualname__}",
        inputs=module.inputs,
        outputs=module.outputs,
        bench_name=bench.name,
        bench_dir=str(bench.dir),
        work_dir=str(work.path),
        recording_dir=str(recording_dir.resolve()) if recording_dir else None,
        run_uuid=run_uuid,
        settings=msgspec.msgpack.encode(module.settings),
        device=device,
        nice=LOOP_NICE if kind.category in LOOP_CATEGORIES and virtual is None else 0,
        program=kind.program(module.settings, bench.dir) if kind.program else (),
        debug=options.debug,
        subject=subject.id,
        subject_group=subject.group,
        compat=bench.compat,
        sources={each.port: f"{each.source_module}.{each.source_port}"
                 for each in module.connections},
        journal=options.journal and kind.category in _JOURNALED,
    )  # fmt: skip
    if virtual is None:
        return msgspec.structs.replace(
            spec,
            time_handlers=kind.category is Category.SCRIPT,
            stages_dir=str(options.stages_dir or ""),
        )
    return msgspec.structs.replace(
        spec,
        virtual_time=True,
        time_created=virtual.time_created,
        costs=dict(virtual.costs.get(module.name, {})),
        seed=virtual.seed,
        dataset_attributes={"time": "virtual"} if virtual.simulated else {},
        warn_nondeterminism=(
            bench.warn_nondeterminism and virtual.simulated and kind.category is Category.SCRIPT
        ),
        quiet_outputs=_quiet_outputs(bench, module, virtual),
        tape=virtual.tapes.get(module.name, ""),
        tape_ports=tuple(
            each.port for each in module.connections if each.source_module in virtual.replayed
        ),
    )


def _quiet_outputs(bench: Bench, module: ModuleConfig, virtual: VirtualTime) -> tuple[str, ...]:
    """Return the outputs whose items wake no module in virtual time."""
    loud = {
        each.source_port
        for listener in bench.modules.values()
        if listener.name not in virtual.patient
        for each in listener.connections
        if each.source_module == module.name and virtual.wakes(listener.name, each.port)
    }
    return tuple(port.id for port in module.outputs if port.id not in loud)
