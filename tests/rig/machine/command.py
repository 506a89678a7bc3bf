"""rig - run a command in a small QEMU guest that has real V4L2 cameras and USB serial devices.

    rig --setup                    install what is missing (Debian 12, x86-64; root or sudo)
    rig --check                    exit with 0 if a guest can be started, else report why not
    rig [OPTIONS] -- COMMAND...    run COMMAND here, but inside the guest

The guest is Debian's own kernel under QEMU's software emulation (no KVM needed). It sees this
machine's file system read-only at the same paths, with a throw-away tmpfs on top, so the same
Python, the same venv and the same work tree are used. README.md lists its devices.
Exit status: COMMAND's own; 124 on time-out, 125 when the rig itself fails, 126/127 as in a shell.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

from guest import RIG_FAILED, Guest
from kernel import RigError, find_kernel, missing_packages, report, set_up

INTERRUPTED = 130


def main() -> int:
    """Carry out the command line; return the exit status."""
    parser = _parser()
    options = parser.parse_args()
    if options.command[:1] == ["--"]:
        del options.command[0]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        if options.setup:
            set_up()
        elif not options.command and not options.check:
            parser.error("no COMMAND")
        if options.check:
            return _check()
        return _run(options) if options.command else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, RigError, subprocess.CalledProcessError) as error:
        report(error)
        return RIG_FAILED


def _check() -> int:
    missing = missing_packages()
    if missing:
        report("not set up, these Debian packages are missing:", *missing)
    elif find_kernel() is None:
        report("not set up, there is no kernel in its cache; run: rig --setup")
    else:
        return 0
    return RIG_FAILED


def _run(options: argparse.Namespace) -> int:
    kernel = find_kernel()
    if kernel is None or missing_packages():
        return _check()
    return Guest(kernel, options).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rig", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--setup",
        action="store_true",
        help="install what is missing, then run COMMAND if there is one",
    )
    add("--check", action="store_true", help="report whether the rig is set up")
    add("--timeout", type=float, metavar="S", help="end the guest after S seconds (status 124)")
    add(
        "--rw",
        action="append",
        default=[],
        metavar="DIR",
        help="let the guest write to this host directory (repeatable)",
    )
    add(
        "--cameras",
        type=int,
        default=2,
        metavar="N",
        help="number of vivid cameras (default 2)",
    )
    add("--cpus", type=int, default=1, metavar="N", help="virtual CPUs (default 1)")
    add("--memory", default="2G", help="guest memory (default 2G)")
    add(
        "--ftdi",
        metavar="CHARDEV",
        help="add an FTDI converter, /dev/ttyUSB0, plugged in while its far end, a QEMU chardev "
        "on the host, is open; e.g. pty, or socket,path=/tmp/s,server=on,wait=off",
    )
    add("--append", default="", metavar="WORDS", help="more kernel parameters")
    add("-v", "--verbose", action="store_true", help="show the guest's console and timing")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser
