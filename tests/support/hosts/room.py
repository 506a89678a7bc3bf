"""A second machine on this one: a network namespace with a cable (veth), and a time namespace.

Its CLOCK_MONOTONIC differs from ours by a known number of seconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

AHEAD_S = 4321
"""By how much the clock in the room is ahead of ours."""
_LIMIT_S = 20.0


@dataclass(frozen=True)
class Room:
    """Where programs run as on another machine."""

    name: str
    here: str
    """Our address on the cable."""
    there: str
    """The address in the room."""

    def start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python module in the room; its standard input and output are pipes."""
        command = [
            "ip", "netns", "exec", self.name,
            "unshare", "--time", "--monotonic", str(AHEAD_S), "--fork", "--kill-child",
            sys.executable, "-m", module, *arguments,
        ]  # fmt: skip
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )


def why_there_is_none() -> str:
    """Return why this system has no room for another machine; "" if it has."""
    for tool in ("ip", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network and time namespaces need root"
    failed = _run(["unshare", "--time", "--monotonic", "1", "--fork", "true"])
    if failed:
        return f"no time namespace: {failed}"
    try:
        with room():
            return ""
    except RuntimeError as error:
        return f"no network namespace: {error}"


@contextmanager
def room() -> Iterator[Room]:
    """Make a room and its cable; remove both at the end.

    Raises:
        RuntimeError: The kernel does not grant it.
    """
    number = os.getpid() & 0x3FFF
    name, end = f"mlink-{number}", f"mlj{number}"
    net = f"198.18.{number >> 6}.{(number & 63) << 2}"  # RFC 2544: for measurements
    first, _, last = net.rpartition(".")
    here, there = f"{first}.{int(last) + 1}", f"{first}.{int(last) + 2}"
    steps: Sequence[Sequence[str]] = (
        ["ip", "netns", "add", name],
        ["ip", "link", "add", end, "type", "veth", "peer", "name", "cable", "netns", name],
        ["ip", "addr", "add", f"{here}/30", "dev", end],
        ["ip", "link", "set", end, "up"],
        ["ip", "-n", name, "addr", "add", f"{there}/30", "dev", "cable"],
        ["ip", "-n", name, "link", "set", "cable", "up"],
        ["ip", "-n", name, "link", "set", "lo", "up"],
    )
    try:
        for step in steps:
            if failed := _run(step):
                raise RuntimeError(f"{' '.join(step)}: {failed}")
        yield Room(name, here, there)
    finally:
        _run(["ip", "link", "del", end])
        _run(["ip", "netns", "del", name])


def _run(command: Sequence[str]) -> str:
    """Run a command; return what it complains about, "" after a success."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
