"""What scripts and programs of a bench cost in virtual time: stated, or measured in a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mlink.bench import Bench, ModuleConfig
from mlink.errors import BenchError
from mlink.lateness import Distribution
from mlink.modules.script.settings import MEASURED, CostSettings
from mlink.storage.manifest import ATTRIBUTES, MANIFEST, read_toml
from mlink.worker_spec import HANDLER_TIMES, Cost

_REAL_TIME = "Name the folder of a recording of this bench that ran in real time, or a file in it."


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a run.

    Attributes:
        by_module: Module → input → time for an item.
        attributes: What the recording states of them.
    """

    by_module: Mapping[str, Mapping[str, Cost]]
    attributes: dict[str, object]


def costs_of(bench: Bench) -> Costs:
    """Return what the modules of a bench cost.

    Raises:
        BenchError: A recording with measured costs is missing, or has none of that module.
    """
    found: dict[str, dict[str, Cost]] = {}
    fixed: dict[str, int] = {}
    measured: dict[str, dict[str, object]] = {}
    for name, module in bench.modules.items():
        settings = module.settings
        if not isinstance(settings, CostSettings):
            continue
        if settings.cost_usec:
            fixed[name] = settings.cost_usec
            cost = Cost.of({settings.cost_usec: 1})
            found[name] = {port.id: cost for port in module.inputs}
        elif settings.cost:
            file = settings.cost.removeprefix(MEASURED)
            found[name], known = _measured(bench.dir, module, file)
            measured[name] = {"measured": file, **known}
    attributes = {"cost_usec": fixed, "cost": measured}
    return Costs(found, {key: value for key, value in attributes.items() if value})


def _measured(
    folder: Path, module: ModuleConfig, file: str
) -> tuple[dict[str, Cost], dict[str, object]]:
    """Return the costs of a module by input, and what the recording states of them."""
    where = f"[modules.{module.name}] cost"
    path = _recording(folder / file)
    if path is None:
        raise BenchError(f"{where}: there is no recording at {folder / file}", remedy=_REAL_TIME)
    attributes = read_toml(path / ATTRIBUTES) if (path / ATTRIBUTES).is_file() else {}
    if attributes.get("time") == "virtual" or "replay_of" in attributes:
        raise BenchError(
            f"{where}: {path} is of virtual time, in which nothing is measured", remedy=_REAL_TIME
        )
    try:
        times = msgspec.convert(attributes.get(HANDLER_TIMES, {}), dict[str, dict[str, Cost]])
    except msgspec.ValidationError as error:
        raise BenchError(f"{where}: {path} is damaged: {error}", remedy=_REAL_TIME) from None
    by_port = times.get(module.name)
    if not by_port:
        known = ", ".join(times) or "no module"
        raise BenchError(
            f"{where}: {path} has measured times of the handlers of {known}, not of {module.name}",
            remedy=f"{_REAL_TIME} Items must have reached this module in it, and it must have "
            "come to its end.",
        )
    pooled = _pooled(by_port)
    costs = {port.id: by_port.get(port.id, pooled) for port in module.inputs}
    collection = str(read_toml(path / MANIFEST).get("collection_id", ""))
    return costs, {"collection_id": collection, **_figures(pooled)}


def _recording(path: Path) -> Path | None:
    """Return the recording that a path belongs to; None if it belongs to none."""
    for folder in (path, *path.parents):
        if (folder / MANIFEST).is_file() and read_toml(folder / MANIFEST).get(
            "type"
        ) == "collection":
            return folder if path.exists() else None
    return None


def _pooled(by_port: Mapping[str, Cost]) -> Cost:
    """Return the times of all inputs together."""
    counts: Counter[int] = Counter()
    for cost in by_port.values():
        counts.update(dict(zip(cost.usec, cost.count, strict=False)))
    return Cost.of(counts)


def _figures(cost: Cost) -> dict[str, Any]:
    times = Distribution()
    times.counts = dict(zip(cost.usec, cost.count, strict=True))
    return {
        "p50_usec": times.quantile_usec(0.5),
        "p99_usec": times.quantile_usec(0.99),
        "max_usec": max(cost.usec),
    }
