"""Clock synchronisers: master times from a device's own clock.

The arrival of a sample jitters with USB and scheduling; the device's clock does not, but it drifts.
A synchroniser combines both. docs/synchronisers.md describes the methods.
"""

from mlink.sync.estimator import OffsetRateSynchronizer
from mlink.sync.freq_counter import FreqCounterSynchronizer
from mlink.sync.secondary import SecondaryClockSynchronizer
from mlink.sync.sink import PairSink, TsyncPairSink
from mlink.sync.strategy import TimeSyncStrategy

__all__ = [
    "FreqCounterSynchronizer",
    "OffsetRateSynchronizer",
    "PairSink",
    "SecondaryClockSynchronizer",
    "TimeSyncStrategy",
    "TsyncPairSink",
]
