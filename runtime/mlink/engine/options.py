"""How a bench is to be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlink.engine.virtual_time.conductor import VirtualTime
from mlink.storage.naming import DEFAULT_ORDER


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one run; `duration_s` None means until it is stopped."""

    duration_s: float | None = None
    out_dir: Path | None = None
    """Where recordings go; None means ./recordings."""
    name: str | None = None
    record: bool = True
    debug: bool = False
    subject: str = ""
    experimenter: str = ""
    comment: str = ""
    directory_order: tuple[str, ...] = DEFAULT_ORDER
    """Folders of a recording below `out_dir`: "subject-id", "time", "experiment-id"."""
    load_timeout_s: float = 60.0
    prepare_timeout_s: float = 120.0
    start_timeout_s: float = 30.0
    stop_grace_s: float = 5.0
    """How long a module may make no progress at a stop before it is interrupted."""
    virtual: VirtualTime | None = None
    """A replay: the modules have turns in virtual time (mlink.replay)."""
    encode: bool = True
    """Encode after the run what was recorded raw, where its recorder wants that at once."""
    journal: bool = False
    """Record what scripts meet and send, so that `mlink replay` can repeat it exactly."""
    attributes: Mapping[str, object] = field(default_factory=dict)
    """Further attributes of the recording."""
    run_uuid: bytes | None = None
    """The recording's id, 16 bytes; None makes a new one."""

    def on_slow_host(self, factor: float) -> RunOptions:
        """Return the same with limits of time that are `factor` times as long."""
        return replace(
            self,
            load_timeout_s=self.load_timeout_s * factor,
            prepare_timeout_s=self.prepare_timeout_s * factor,
            start_timeout_s=self.start_timeout_s * factor,
            stop_grace_s=self.stop_grace_s * factor,
        )
