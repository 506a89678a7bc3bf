"""Clock synchronisers: a device's own clock makes the master times of its samples steadier."""

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
