"""Clock synchronisers: a device's own clock makes the master times of its samples steadier."""

from mlink.sync.secondary import SecondaryClockSynchronizer
from mlink.sync.sink import PairSink, TsyncPairSink
from mlink.sync.strategy import TimeSyncStrategy
