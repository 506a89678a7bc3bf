"""Runs a script of `tests/rig/guest/` in the rig: real kernel drivers in a QEMU guest.

Host and guest see the same files. The last line that a guest script prints is JSON.
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
RIG = Path(__file__).resolve().parent / "machine" / "rig"
TIMED_OUT = 124
RIG_FAILED = 125


def rig_program() -> Path:
    """Return the path of the rig's program: MLINK_RIG, else the project's own."""
    return Path(os.environ.get("MLINK_RIG", RIG))


def why_no_rig() -> str:
    """Return why no guest can be started, or nothing if one can."""
    program = rig_program()
    if not program.exists():
        return f"there is no rig at {program} (MLINK_RIG)"
    if program != RIG:
        return ""  # its options are not known here
    check = subprocess.run([program, "--check"], capture_output=True, text=True, check=False)
    return check.stderr.strip() if check.returncode else ""


@contextmanager
def only_rig() -> Iterator[None]:
    """Hold the machine's rig lock: two emulators on two cores are too slow for the time limits."""
    with Path(tempfile.gettempdir(), "mlink-rig.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def compile_packages() -> None:
    """Compile the modules that the guest imports, which it would do slowly in each process."""
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
    """Run a command in a fresh guest and return the finished process.

    Args:
        command: The program and its arguments, run in the project's folder.
        timeout_sec: Time limit, the guest's boot included.
        cameras: Number of simulated V4L2 cameras (vivid), from /dev/video0.
        writable: Folders of the host that the guest may write to; all other writes are lost.
        ftdi: QEMU chardev at the far end of an FTDI converter, /dev/ttyUSB0; "" for none.
        cable: Socket that replaces standard input and output.

    Raises:
        AssertionError: With the output, when the command does not exit with 0.
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
