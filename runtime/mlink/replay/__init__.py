"""Replays: a bench runs on a recording, in virtual time (docs/replay.md).

from mlink.replay import replay

outcome = replay("recordings/…/led", bench="hil/benches/led-follows-button", out_dir=folder)
assert outcome.result.success
assert all(each.same for each in outcome.compare())
"""

from mlink.replay.compare import Compared, compare
from mlink.replay.run import Replayed, replay

__all__ = ["Compared", "Replayed", "compare", "replay"]
