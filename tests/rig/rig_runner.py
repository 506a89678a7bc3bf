"""Runs a script of `tests/rig/guest/` in the virtual rig: real kernel drivers, in QEMU.

Host and guest see the same files; a guest script prints one line of JSON as its last line.
"""

from __future__ import annotations

import compileall
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.support import ROOT

GUEST = Path(__file__).resolve().parent / "guest"
TIMED_OUT = 124
RIG_FAILED = 125


def rig_program() -> Path:
    """Return where the rig is: MLINK_RIG, else beside the project."""
    return Path(os.environ.get("MLINK_RIG", ROOT.parent / "shared" / "rig" / "rig"))


@contextmanager
def only_rig() -> Iterator[None]:
    """Hold the machine's rig lock: two emulators on two cores would time each other out."""
    with Path(tempfile.gettempdir(), "mlink-rig.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def compile_packages() -> None:
    """Compile what the guest imports: it would do so in each process, and slowly."""
    for folder in ("runtime", "drivers", "hil", "tests"):
        compileall.compile_dir(ROOT / folder, quiet=1)


def run_in_rig(
    command: Sequence[str],
    *,
    timeout_sec: int = 240,
    cameras: int = 1,
    writable: Sequence[Path] = (),
    ftdi: str = "",
    cable: socket.socket | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh guest; AssertionError, with its output, unless it exits with 0.

    It may write to the folders that are `writable`; elsewhere what it writes is thrown away.
    `ftdi` is the far end of an FTDI converter; a `cable` takes the place of standard input and
    output.
    """
    rig = [str(rig_program()), "--timeout", str(timeout_sec), "--cameras", str(cameras)]
    rig += [word for folder in writable for word in ("--rw", str(folder))]
    rig += ["--ftdi", ftdi] if ftdi else []
    compile_packages()
    # The guest starts in this directory; -P keeps the script's own folder off the path.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with only_rig():
        done = subprocess.run(
            [*rig, "--", *command],
            cwd=ROOT,
            env=environment,
            stdin=cable or subprocess.DEVNULL,
            stdout=cable or subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    reason = {TIMED_OUT: "timed out", RIG_FAILED: "the rig itself failed"}.get(done.returncode, "")
    assert done.returncode == 0, (
        f"in the rig: {' '.join(command)}\nstatus {done.returncode} {reason}\n"
        f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    )
    return done


def ask_guest(
    script: str,
    *arguments: str,
    timeout_sec: int = 240,
    cameras: int = 1,
    writable: Sequence[Path] = (),
) -> Any:
    """Run a guest script and return the JSON of its last line."""
    command = [sys.executable, "-P", str(GUEST / script), *arguments]
    done = run_in_rig(command, timeout_sec=timeout_sec, cameras=cameras, writable=writable)
    return json.loads(done.stdout.splitlines()[-1])
