"""Options of one run, as the command line and tests give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlink.bench import Bench
from mlink.bench.virtual_time import refuse_what_needs_real_time, refuse_wrong_times
from mlink.engine.remote import RunControl
from mlink.engine.virtual_time.conductor import VirtualTime
from mlink.engine.virtual_time.participant import Participant
from mlink.engine.virtual_time.simulated import in_virtual_time
from mlink.errors import BenchError
from mlink.storage.place import Storage


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one run.

    All times are in seconds.
    """

    duration_s: float | None = None
    """Length of the run in seconds of master time; None runs until a stop is requested."""
    out_dir: Path | None = None
    """Parent folder of recordings; None means ./recordings."""
    name: str | None = None
    """The recording's name, which may have `{n}` and `{time}`; None means the bench's name."""
    record: bool = True
    debug: bool = False
    subject: str = ""
    experimenter: str = ""
    comment: str = ""
    storage: Storage | None = None
    """Folders and names of the recording below `out_dir`; None takes those of the bench."""
    runs: int = 1
    """How many runs there will be: from 10 on `{n}` in their names has leading zeros."""
    run: int = 1
    """Which of them this is."""
    load_timeout_s: float = 60.0
    prepare_timeout_s: float = 120.0
    start_timeout_s: float = 30.0
    stop_grace_s: float = 5.0
    """How long a module may make no progress at a stop before it is interrupted."""
    turn_limit_s: float = 120.0
    """In virtual time: longest turn of a module, or of the simulated devices, in real time."""
    virtual: VirtualTime | None = None
    """Run in virtual time with these parameters (today: a replay); None runs in real time."""
    participant: Participant | None = None
    """Takes part in virtual time from outside of the run; None without one."""
    encode: bool = True
    """Encode raw videos after the run, where their recorder requests it."""
    journal: bool = False
    """Record what scripts receive and send, so that `mlink replay` can repeat it exactly."""
    stages_dir: Path | None = None
    """In real time: where modules write when items pass them (`mlink verify-timing --stages`)."""
    strict: bool = False
    """Fail the run if any subscription has not got all that was sent to it."""
    attributes: Mapping[str, object] = field(default_factory=dict)
    """Further attributes of the recording."""
    run_uuid: bytes | None = None
    """The recording's id, 16 bytes; None makes a new one."""
    clock_page: int | None = None
    """In real time: descriptor of the page of this host's clock, which another machine leads
    (mlink.steered_clock); None takes this machine's own clock."""
    control: RunControl | None = None
    """In real time: starts and stops the run together with other machines; None does not."""

    @property
    def simulated(self) -> bool:
        """Whether the run is one of simulated devices in virtual time; replays are none."""
        return self.virtual is not None and self.virtual.simulated

    def in_time_of(
        self, bench: Bench, *, seed: int | None = None, speed: float | None = None, key: str = ""
    ) -> RunOptions:
        """Return the same options for a run in the bench's kind of time; without one, in real time.

        Args:
            bench: The bench that runs.
            seed: In virtual time: gives the recording's id and date; None takes the bench's.
            speed: In virtual time: speed relative to real time; None takes the bench's.
            key: Distinguishes runs of one bench that have the same seed.

        Raises:
            BenchError: The run is in real time and has a seed or a speed, or it is in virtual time
                and the bench needs real time.
        """
        if bench.time == "virtual":
            refuse_wrong_times(None, seed, speed)
            refuse_what_needs_real_time(bench)
            virtual, run_uuid, attributes = in_virtual_time(
                bench,
                self.duration_s,
                speed=bench.speed if speed is None else speed,
                seed=bench.seed if seed is None else seed,
                key=key,
            )
            return replace(self, virtual=virtual, run_uuid=run_uuid, attributes=attributes)
        for name, given in (("seed", seed), ("speed", speed)):
            if given is not None:
                raise BenchError(
                    f"{name} is for virtual time, and this run is in real time",
                    remedy=f"Run in virtual time (--time virtual), or leave {name} out.",
                )
        return self

    def on_slow_host(self, factor: float) -> RunOptions:
        """Return the same options with all timeouts multiplied by `factor`.

        Tests use it on machines that are slower or busier than usual.
        """
        return replace(
            self,
            load_timeout_s=self.load_timeout_s * factor,
            prepare_timeout_s=self.prepare_timeout_s * factor,
            start_timeout_s=self.start_timeout_s * factor,
            stop_grace_s=self.stop_grace_s * factor,
            turn_limit_s=self.turn_limit_s * factor,
        )
