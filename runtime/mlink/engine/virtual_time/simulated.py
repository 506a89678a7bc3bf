"""Parameters of a run of simulated devices in virtual time."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from mlink.bench import Bench
from mlink.engine.virtual_time.conductor import NEVER_USEC, VirtualTime
from mlink.engine.virtual_time.costs import costs_of
from mlink.engine.virtual_time.patient import patient_recorders
from mlink.storage.uuid7 import uuid7

_CREATED = datetime(2000, 1, 1, tzinfo=UTC)
"""Creation time of recordings that a seed gives their id."""


def in_virtual_time(
    bench: Bench,
    duration_s: float | None,
    *,
    speed: float | None = None,
    seed: int | None = None,
    key: str = "",
) -> tuple[VirtualTime, bytes | None, dict[str, object]]:
    """Return the parameters, the recording's id (None: a new one) and attributes of a run.

    Args:
        bench: The bench that runs.
        duration_s: Its length in seconds; None runs until a stop is requested.
        speed: Speed relative to real time; None is as fast as possible.
        seed: Gives the recording's id and creation time, together with the bench and its scripts.
        key: Distinguishes runs of one bench that have the same seed.

    Raises:
        BenchError: Measured costs cannot be read.
    """
    costs = costs_of(bench)
    attributes: dict[str, object] = {"time": "virtual", **costs.attributes}
    created, run_uuid = "", None
    if seed is not None:
        attributes["seed"] = seed
        created = _CREATED.isoformat()
        digest = hashlib.blake2b(f"{seed} {duration_s}{key}".encode(), digest_size=10)
        digest.update(digest_of(bench))
        digest.update(repr(costs.by_module).encode())
        run_uuid = uuid7(round(_CREATED.timestamp() * 1000), digest.digest()).bytes
    virtual = VirtualTime(
        NEVER_USEC if duration_s is None else round(duration_s * 1e6),
        speed=speed,
        patient=patient_recorders(bench) if speed is None else frozenset(),
        simulated=True,
        costs=costs.by_module,
        seed=seed or 0,
        time_created=created,
    )
    return virtual, run_uuid, attributes


def digest_of(bench: Bench) -> bytes:
    """Return a digest of a bench's modules, connections, settings and scripts."""
    digest = hashlib.blake2b(digest_size=16)
    for name, module in bench.modules.items():
        digest.update(f"{name} {module.type.id} {module.connections}".encode())
        digest.update(msgspec.msgpack.encode(module.settings))
    for path in sorted(bench.dir.glob("*.py")):
        with suppress(OSError):  # a folder, or a link to nothing: editors lock files by them
            digest.update(path.read_bytes())
    return digest.digest()
