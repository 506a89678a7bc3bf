"""Forks of a worker's process, made by its module: they take no part in the run.

A fork has copies of the ports and of the channel. What it sent would have the numbers of items that
the worker sends, and what it received would be missing there.
"""

from __future__ import annotations

import os
import sys
from weakref import WeakSet

from mlink.worker.reports import Reporting

_hosts: WeakSet[Reporting] = WeakSet()


def cut_off_forks_of(host: Reporting) -> None:
    """Let every fork of this process, from now on, neither send nor receive.

    It may still print and log; any other use of a port or of the channel is an error in the fork.
    """
    _hosts.add(host)


def _in_the_fork() -> None:
    for host in _hosts:
        host.cut_off()


os.register_at_fork(after_in_child=_in_the_fork)


def exit_code(error: BaseException | None) -> int:
    """Return the exit code of a process that this error ends, as Python would."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        return 1
    return 0 if error is None else 1


def end(code: int) -> None:
    """End this process at once: it must close none of the files of the module."""
    sys.stdout.flush()
    os._exit(code & 0xFF)
