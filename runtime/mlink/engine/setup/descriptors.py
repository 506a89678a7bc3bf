"""Open files that a run needs: as many are allowed for its length, up to the hard limit."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from mlink.bench import Bench
from mlink.engine.streams import Streams
from mlink.errors import MlinkError

_PER_MODULE = 5
"""Both ends of its control channel and of the pipe of its output, and its doorbell."""
_PER_PIPE = 3
"""A pipe, and a store."""
_PER_ARRAYS = 5
"""Two pipes, and the memory of the stream."""
_OTHERS = 24
"""Fork server, devices, log, disk; the files of a worker."""


@contextmanager
def enough_descriptors(bench: Bench, streams: Streams) -> Iterator[None]:
    """Allow this process, and those that it starts, the open files that a bench needs.

    Args:
        bench: The bench that runs.
        streams: Its streams.

    Raises:
        MlinkError: The hard limit does not allow them.
    """
    needed = _open_now() + _OTHERS + _PER_MODULE * len(bench.modules)
    needed += sum(_PER_PIPE if streams.is_small(edge) else _PER_ARRAYS for edge in streams.edges)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        yield
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise MlinkError(
            f"this bench needs about {needed:,} open files, and this process may have {hard:,}",
            remedy=f"Allow more: ulimit -n {max(4096, needed)} (for good: `nofile` in "
            "/etc/security/limits.conf).",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _open_now() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, no paths
    except OSError:  # /proc is not mounted, or there is no descriptor left for it
        return _OTHERS
