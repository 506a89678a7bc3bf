"""The command line of mlink, which also writes each status of its run into a file.

    python -m tests.torture.hooked_mlink STATUS_FILE run BENCH …

A line is JSON: the phase, the time, and what each subscriber has received. Nothing else differs
from `mlink`: the same signals, messages and exit codes. The phase "import" begins when the first
lines of mlink have run: before that a signal meets Python's own start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from mlink.__main__ import main as mlink
from mlink.ctrl_c import end_on_signals


def main() -> None:
    """Write statuses into argv[1]; run the command line on the rest."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also when the tests run under nohup
    end_on_signals()
    file = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    def write(phase: str, received: dict[str, int]) -> None:
        line = {"at": time.monotonic(), "phase": phase, "received": received}
        os.write(file, f"{json.dumps(line)}\n".encode())

    write("import", {})
    from mlink.cli.terminal.live import LogView

    shown = LogView.on_status

    def on_status(self, status):
        received = {
            f"{sub.module}.{sub.port}": sub.received
            for stream in status.streams
            for sub in stream.subscriptions
        }
        write(status.phase.value, received)
        shown(self, status)

    LogView.on_status = on_status
    mlink()


main()
