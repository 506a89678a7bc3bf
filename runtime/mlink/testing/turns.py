"""The thread of a script. It and the test take turns: only one of them runs at a time."""

from __future__ import annotations

import ctypes
import sys
import threading
import traceback
from collections.abc import Callable

from mlink.errors import ScriptError
from mlink.scripting.errors import only_users


class ScriptThread:
    """Runs jobs that may pause; the test waits while a job runs.

    Args:
        name: Name of the script, for the thread.
        patience_s: Real time in s after which a job that neither pauses nor ends is interrupted.
    """

    def __init__(self, name: str, patience_s: float) -> None:
        self._patience_s = patience_s
        self._to_script = threading.Semaphore(0)
        self._to_test = threading.Semaphore(0)
        self._job: Callable[[], object] | None = None
        self._error: BaseException | None = None
        self._stuck = False
        self._thread = threading.Thread(target=self._live, name=f"script {name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job is paused."""
        return self._job is not None

    def begin(self, job: Callable[[], object]) -> None:
        """Run a job until it pauses or ends; its exception is raised here.

        Raises:
            ScriptError: It does neither within `patience_s`.
        """
        assert self._job is None
        self._job = job
        self.go_on()

    def go_on(self) -> None:
        """Let a paused job run on; returns and raises as `begin` does.

        Raises:
            ScriptError: The job does neither pause nor end within `patience_s`, now or earlier.
        """
        if self._stuck:
            raise ScriptError("the script does not give control back", remedy="See above.")
        self._to_script.release()
        if not self._to_test.acquire(timeout=self._patience_s):
            self._stuck = True
            self._give_up()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def pause(self) -> None:
        """Let the test run; called by the job, returns at the next `go_on`."""
        self._to_test.release()
        self._to_script.acquire()

    def close(self) -> None:
        """End the thread; a job that is paused stays paused for good.

        A thread that is stuck in the script is left behind; it is a daemon.
        """
        if self._job is None and not self._stuck:
            self._to_script.release()
            self._thread.join()

    def _live(self) -> None:
        while True:
            self._to_script.acquire()
            job = self._job
            if job is None:
                return
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised again where the test waits
                self._error = error
            self._job = None
            self._to_test.release()

    def _give_up(self) -> None:
        ident = self._thread.ident
        assert ident is not None
        frame = sys._current_frames().get(ident)
        frames = only_users(traceback.extract_stack(frame)) if frame is not None else []
        place = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "?"
        # Ends a loop of Python code; a call that sleeps in C stays, in a daemon thread.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt)
        )
        raise ScriptError(
            f"{place}\n  the script did not give control back for {self._patience_s:g} s",
            remedy="Let it wait with syl.await_data(), syl.wait() or syl.wait_sec(), in loops "
            "that ask syl.is_running(); the runner moves time in these only.",
        )
