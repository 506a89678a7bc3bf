"""The `runcmd` module: starts a program with the run, and ends it with the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import Final

from mlink.ctrl_c import name_of
from mlink.errors import ModuleError
from mlink.module import Module
from mlink.modules.actions.catalog import RunCmdSettings
from mlink.waiting import Registration

_PATIENCE_S: Final = 5.0
"""How long the program may take to end after SIGTERM."""
_REST_USEC: Final = 200_000
"""Between two looks; shorter waits after the stop are not reported to the engine, which would end
the module for making no progress."""


class RunCmdModule(Module[RunCmdSettings]):
    """Starts the program at the start; one that fails before the stop fails the run.

    One that ends by itself with code 0 ends nothing. What it prints is in the run's output.
    """

    _process: subprocess.Popen[bytes] | None = None
    _watch: Registration | None = None
    _pidfd = -1

    def start(self) -> None:
        """Start the program.

        Raises:
            ModuleError: It cannot be started.
        """
        settings, run = self.settings, self.context.run_info
        started_ms = round(time.time() * 1000) - self.context.clock.now_usec() // 1000
        environment = os.environ | {
            "SY_SUBJECT_ID": run.subject,
            "SY_SUBJECT_GROUP": run.subject_group,
            "SY_START_TIME_UNIX_MS": str(started_ms),
        }
        try:
            self._process = subprocess.Popen(
                [settings.program(run.bench_dir) or settings.executable, *settings.arguments()],
                cwd=run.bench_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # so that its own children get the signal at the end, too
            )
        except (OSError, ValueError) as error:
            raise ModuleError(
                f"'{settings.executable}' cannot be started: {error}",
                remedy="Set `executable` to a program of this machine.",
            ) from error
        self.context.set_status(f"runs as process {self._process.pid}")
        self._pidfd = os.pidfd_open(self._process.pid)
        self._watch = self.context.waiting.on_readable(self._pidfd, self._on_end)

    def _on_end(self, _now_ns: int) -> None:
        assert self._process is not None
        if self._watch is not None:
            self._watch.cancel()
        code = self._process.wait()
        self.context.set_status("has ended")
        if self.context.stop_asked or code == 0:
            return
        how = f"by {name_of(-code)}" if code < 0 else f"with code {code}"
        remedy = "Its output before this may show why."
        text = f"'{self.settings.executable}' ended {how}"
        self.context.fail(ModuleError(text, remedy=remedy))

    def stop(self) -> None:
        """End the program: SIGTERM, after 5 s SIGKILL."""
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGTERM)
        end_s = time.monotonic() + _PATIENCE_S
        while process.poll() is None and time.monotonic() < end_s:
            self.context.serve_for(_REST_USEC, _REST_USEC)
        if process.poll() is None:
            self.log.warning("the program did not end within %g s: killed", _PATIENCE_S)
        self.close()
        if process.returncode is not None and process.returncode >= 0:
            self.context.report("exit_code", process.returncode)

    def close(self) -> None:
        """Kill the program if it still runs."""
        if self._watch is not None:
            self._watch.cancel()
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and what it has started; a dead one's group may be gone."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
