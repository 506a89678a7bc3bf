"""The capture thread: grab, stamp, decode into loaned shared memory, send. It waits for nobody.

Its loop makes as few objects as it can, and every frame that does not reach the stream is
counted under the reason why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from mlink.clock import Clock
from mlink.errors import DeviceError, StreamError
from mlink.module import OutputPort
from mlink.realtime import Granted, pin_to_cpus, request_priority
from mlink_drivers.camera.backend import CameraBackend, CameraInfo, NoFrame, Stamp
from mlink_drivers.camera.counts import CaptureCounts
from mlink_drivers.camera.rate import FrameRate

SILENCE_LIMIT_NSEC = 2_000_000_000
"""After so long without a good frame the camera counts as failed."""
STOP_TIMEOUT_SEC = 5.0
"""`grab` waits 1 s at most; a driver that takes longer than this to return is stuck."""
_RETRY_PAUSE_SEC = 0.002
"""A failed grab that returns at once must not keep a real-time thread, and its core, spinning."""

Recover = Callable[[DeviceError, threading.Event], CameraBackend | None]
"""(the loss, set when a stop is asked) → the camera again; None when stopped; DeviceError when
the loss is to end the run. Called in the capture thread, and may wait."""


class CaptureThread:
    """Owns the thread "capture" between `start` and `stop`; the backend stays its maker's.

    `fail` is told of an error that ends capturing, `ended` of the end of a finite source; both
    are called in the thread.
    """

    def __init__(
        self,
        backend: CameraBackend,
        info: CameraInfo,
        output: OutputPort,
        clock: Clock,
        log: logging.Logger,
        *,
        fail: Callable[[BaseException], None],
        ended: Callable[[], None],
        recover: Recover | None = None,
        affinity: Collection[int] = (),
        silence_limit_nsec: int = SILENCE_LIMIT_NSEC,
    ) -> None:
        self.counts = CaptureCounts()
        self.granted: Granted | None = None
        self.first_ns = 0
        self.last_ns = 0
        """Stamps of the first and of the newest frame in order, CLOCK_MONOTONIC."""
        self.in_order = 0
        """Frames between those two, both included, whether or not they could be sent."""
        self._index = -1
        self._last_usec = -1
        self._rate = FrameRate(round(1e9 / info.framerate) if info.framerate > 0 else 0)
        self._backend = backend
        self._info = info
        self._output = output
        self._clock = clock
        self._log = log
        self._fail = fail
        self._ended = ended
        self._recover = recover
        self._affinity = affinity
        self._silence_limit_nsec = silence_limit_nsec
        self._stopping = threading.Event()
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Begin to capture; frames taken before this moment are not sent."""
        self._thread.start()

    def stop(self) -> bool:
        """Ask the thread to end and wait for it; False when the driver does not return."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_SEC)
        return not self._thread.is_alive()

    @property
    def framerate(self) -> float:
        """Frames per second over the whole run, from the stamps; 0 before the second frame."""
        if self.in_order < 2:
            return 0.0
        return (self.in_order - 1) * 1e9 / (self.last_ns - self.first_ns)

    def _run(self) -> None:
        try:
            if self._affinity:
                cpus = ", ".join(str(cpu) for cpu in sorted(pin_to_cpus(self._affinity)))
                self._log.info("capture thread: on processors %s only", cpus)
            if self._info.live:
                self.granted = request_priority()
                self._log.info("capture thread: %s", self.granted.detail)
            self._capture_and_recover()
        except Exception as error:  # noqa: BLE001 - a thread has no caller: the run must hear of it
            # At the stop a stream may end under a frame that is on its way; that is no failure.
            if not (self._stopping.is_set() and isinstance(error, StreamError)):
                self._fail(error)

    def _capture_and_recover(self) -> None:
        while True:
            try:
                self._capture()
            except DeviceError as error:
                if self._recover is None or self._stopping.is_set():
                    raise
                backend = self._recover(error, self._stopping)
                if backend is None:
                    return
                self._backend = backend
            else:
                return
            finally:
                self._rate.finish()
                self.counts.lost += self._rate.take_lost()

    def _capture(self) -> None:
        """Run the loop until stopped or the source's end."""
        counts, info, rate = self.counts, self._info, self._rate
        grab, retrieve = self._backend.grab, self._backend.retrieve
        loan_frame, to_master = self._output.loan_frame, self._clock.from_monotonic_ns
        shape, dtype = info.shape, info.dtype
        stopping = self._stopping.is_set
        wanted = self._output.connected
        is_first = True
        offset = 0  # from the source's numbers to ours: a camera that is back begins at 0 again
        started_ns = time.monotonic_ns()
        self._backend.start()
        heard_ns = time.monotonic_ns()

        while not stopping():
            grabbed = grab()
            if not isinstance(grabbed, Stamp):
                if grabbed is NoFrame.END:
                    self._ended()
                    return
                if grabbed is NoFrame.NOT_YET:
                    heard_ns = time.monotonic_ns()
                else:
                    self._note_absence(grabbed, heard_ns)
                continue
            time_ns, number, estimated = grabbed
            if time_ns < started_ns:
                counts.stale += 1
                self._check_silence(heard_ns)
                continue
            time_usec = to_master(time_ns)
            if time_usec <= self._last_usec:
                counts.disordered += 1
                self._warn_once(
                    "disordered",
                    "a frame's time is not later than that of the frame before: not sent",
                )
                self._check_silence(heard_ns)
                continue

            if is_first:
                is_first = False
                if self.in_order:
                    self._index += 1 + self._missed_until(time_ns)
                else:
                    self.first_ns = time_ns
                    self._index = max(number, 0)
                offset = self._index - number
            elif number >= 0:
                counts.lost += number + offset - self._index - 1
                self._index = number + offset
            else:
                self._index += 1
                if info.steady:
                    rate.add(time_ns - self.last_ns)
                    counts.lost += rate.take_lost()
            self.last_ns = time_ns
            self.in_order += 1
            self._last_usec = time_usec

            try:
                loan = loan_frame(shape, dtype)
            except StreamError as error:
                if stopping():
                    return
                counts.unsent += 1
                self._warn_once("unsent", f"a frame is lost, there is no memory for it: {error}")
                heard_ns = time.monotonic_ns()
                continue
            # Without a listener there is nobody to decode for.
            if wanted and not retrieve(loan.array):
                loan.discard()
                counts.damaged += 1
                self._warn_once("damaged", "a frame is damaged and is not sent")
                self._check_silence(heard_ns)
                continue
            loan.send(index=self._index, time_usec=time_usec)
            counts.sent += 1
            counts.estimated += estimated
            heard_ns = time.monotonic_ns()

    def _missed_until(self, time_ns: int) -> int:
        """Return, and count, the frames missed since the camera was lost."""
        rate = self._info.framerate
        period_nsec = self._rate.period_nsec or (round(1e9 / rate) if rate > 0 else 0)
        if not (self._info.steady and period_nsec):
            return 0
        missed = max(0, round((time_ns - self.last_ns) / period_nsec) - 1)
        self.counts.lost += missed
        return missed

    def _note_absence(self, reason: NoFrame, heard_ns: int) -> None:
        """Count a grab without a frame."""
        if reason is NoFrame.REPEATED:
            self.counts.repeated += 1
        else:
            self.counts.timeouts += 1
        self._check_silence(heard_ns)
        self._stopping.wait(_RETRY_PAUSE_SEC)

    def _check_silence(self, heard_ns: int) -> None:
        """Give up when no good frame came for too long."""
        silence_nsec = time.monotonic_ns() - heard_ns
        if silence_nsec <= self._silence_limit_nsec or self._stopping.is_set():
            return
        troubles = ", ".join(f"{n} {name}" for name, n in self.counts.troubles().items())
        raise DeviceError(
            f"no frame for {silence_nsec / 1e9:.1f} s after {self.counts.sent} frames ({troubles})",
            remedy="Check the cable and that no other program changes this camera; try a lower "
            "size or framerate, or another USB port.",
        )

    def _warn_once(self, kind: str, text: str) -> None:
        """Log the first of a kind of trouble; the counts tell the rest."""
        if kind not in self._warned:
            self._warned.add(kind)
            self._log.warning("%s (said once; the summary has the count)", text)
