"""The capture thread: grab, stamp, decode into loaned shared memory, send.

It never waits for a subscriber. In virtual time there is no thread: a source that knows when its
next frame is due is grabbed then. The loop allocates as little as possible, and counts every frame
that is not sent, by the reason. Each frame that the camera took during the run and that is not sent
is also a gap in the stream (`OutputPort.note_lost`), so that subscribers and datasets count it too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from mlink.clock import Clock
from mlink.errors import DeviceError, StreamError
from mlink.module import FrameLoan, OutputPort
from mlink.realtime import Granted, pin_to_cpus, request_priority
from mlink.waiting import Registration, Waiting
from mlink_drivers.camera.backend import (
    CameraBackend,
    CameraInfo,
    ChangingPace,
    KnownLength,
    NoFrame,
    Stamp,
)
from mlink_drivers.camera.counts import CaptureCounts
from mlink_drivers.camera.framing import paced, source_of
from mlink_drivers.camera.rate import FrameRate
from mlink_drivers.camera.triggers.pairing import Verdict
from mlink_drivers.camera.triggers.triggered import FrameTrigger

SILENCE_LIMIT_NSEC = 2_000_000_000
"""Without a good frame for this long, the camera has failed."""
STOP_TIMEOUT_SEC = 5.0
"""`grab` waits at most 1 s; a driver that takes longer than this to return is stuck."""
_RETRY_PAUSE_SEC = 0.002
"""Keeps a real-time thread from spinning when `grab` fails immediately."""
_SILENT_ON_CABLE = (
    "Check the cable and that no other program changes this camera; try a lower size or framerate,"
    " or another USB port."
)
_SILENT_ON_NETWORK = (
    "Check the camera and its network; for one with longer pauses set silence_limit (s), and"
    ' on_loss = "continue" waits for it.'
)

Recover = Callable[[DeviceError, threading.Event], CameraBackend | None]
"""(the loss, event that is set to stop) → the reopened camera, or None when stopped.

Called in the capture thread, and may wait. Raises DeviceError when the loss is to end the run.
"""


class CaptureThread:
    """Owns the thread "capture" between `start` and `stop`; the caller closes the backend.

    Args:
        backend: An open camera.
        info: What it delivers.
        output: Port that lends memory for frames and sends them.
        clock: Converts stamps to master time.
        log: Logger of the module.
        waiting: Gives the time; in virtual time it makes the calls that grab, without a thread.
        fail: Called in the thread with an error that ends capturing.
        ended: Called in the thread at the end of a finite source.
        recover: Waits for a lost camera; None: a loss ends capturing.
        affinity: Processors on which the thread may run; empty: all.
        silence_limit_nsec: Without a good frame for this long (ns), the camera has failed.
        trigger: Gives frames the times of a board's edges; None: they have the camera's own.
    """

    def __init__(
        self,
        backend: CameraBackend,
        info: CameraInfo,
        output: OutputPort,
        clock: Clock,
        log: logging.Logger,
        waiting: Waiting,
        *,
        fail: Callable[[BaseException], None],
        ended: Callable[[], None],
        recover: Recover | None = None,
        affinity: Collection[int] = (),
        silence_limit_nsec: int = SILENCE_LIMIT_NSEC,
        trigger: FrameTrigger | None = None,
    ) -> None:
        self.counts = CaptureCounts()
        self.granted: Granted | None = None
        self.first_ns = 0
        self.last_ns = 0
        """Stamps of the first and the newest frame in order, on CLOCK_MONOTONIC, in ns."""
        self.in_order = 0
        """Number of frames from the first to the newest, whether or not they were sent."""
        self._index = -1
        self._last_usec = -1
        self._rate = FrameRate(round(1e9 / info.framerate) if info.framerate > 0 else 0)
        self._backend = backend
        self._info = info
        self._output = output
        self._clock = clock
        self._log = log
        self._waiting = waiting
        self._fail = fail
        self._ended = ended
        self._recover = recover
        self._affinity = affinity
        self._silence_limit_nsec = silence_limit_nsec
        self._trigger = trigger
        self._held: FrameLoan | None = None
        """A frame whose edge the next one decides; None also for one that could not be decoded."""
        self._stopping = threading.Event()
        self._warned: set[str] = set()
        self._is_first = True
        self._offset = 0
        """What is added to the source's numbers; a reopened camera starts at 0 again."""
        self._started_ns = 0
        self._alive_ns = 0
        """Last sign that the camera works."""
        self._next_grab: Registration | None = None
        self._pace_changes: Registration | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Start capturing; frames taken before this moment are not sent."""
        if not self._waiting.is_virtual:
            self._thread.start()
            return
        self._begin()
        self._grab_when_due()
        source = paced(self._backend)
        if isinstance(source, ChangingPace) and source.fileno() >= 0:
            self._pace_changes = self._waiting.on_readable(source.fileno(), self._on_pace)

    def stop(self) -> bool:
        """Stop the thread and wait for it.

        Returns:
            False if the driver does not return, so that the thread still uses the backend.
        """
        self._stopping.set()
        for registration in (self._next_grab, self._pace_changes):
            if registration is not None:
                registration.cancel()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_SEC)
        if self._thread.is_alive():
            return False
        self._flush()
        if self._trigger is not None and (damaged := self._trigger.take_damaged()):
            self._output.note_lost(damaged)
        return True

    @property
    def framerate(self) -> float:
        """Mean frames per second of the run, from the stamps; 0 before the second frame."""
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
        except Exception as error:  # noqa: BLE001 - a thread has no caller to raise it to
            # When the run stops, a stream may end while a frame is being sent: not a failure.
            if not (self._stopping.is_set() and isinstance(error, StreamError)):
                self._fail(error)

    def _capture_and_recover(self) -> None:
        while True:
            try:
                self._capture()
            except DeviceError as error:
                if self._recover is None:
                    raise
                backend = self._recover(error, self._stopping)
                if backend is None:
                    return
                self._backend = backend
            else:
                return
            finally:
                self._flush()
                self._rate.finish()
                self._lose_inferred()

    def _capture(self) -> None:
        """Send frames until a stop or the end of the source."""
        self._begin()
        step, stopping = self._step, self._stopping.is_set
        while not stopping():
            if not step():
                return

    def _grab_when_due(self) -> None:
        """In virtual time: grab the next frame when it is due."""
        source = paced(self._backend)
        assert source is not None  # checked before the run
        self._next_grab = self._waiting.at(source.due_ns(), self._grab_due)

    def _on_pace(self, _now_ns: int) -> None:
        if self._next_grab is not None and not self._stopping.is_set():
            self._next_grab.cancel()
            self._grab_when_due()

    def _grab_due(self) -> None:
        if not self._stopping.is_set() and self._step():
            self._grab_when_due()

    def _begin(self) -> None:
        """Start the camera."""
        self._is_first, self._offset = True, 0
        self._started_ns = self._waiting.now_ns()
        self._backend.start()
        self._alive_ns = self._waiting.now_ns()
        if self._trigger is not None:
            self._trigger.begin()

    def _step(self) -> bool:
        """Grab once, and send the frame if there is one; return False at the end."""
        counts, info = self.counts, self._info
        grabbed = self._backend.grab()
        if not isinstance(grabbed, Stamp):
            if grabbed is NoFrame.END:
                self._lose_at_end()
                self._ended()
                return False
            if grabbed is NoFrame.NOT_YET:
                self._alive_ns = self._waiting.now_ns()
            else:
                self._note_absence(grabbed)
            return True
        time_ns, number, estimated = grabbed[:3]
        if time_ns < self._started_ns:
            counts.stale += 1
            self._check_silence()
            return True
        if self._trigger is not None:
            return self._pair(self._trigger, grabbed)
        time_usec = self._clock.from_monotonic_ns(time_ns)
        if time_usec <= self._last_usec:
            counts.disordered += 1
            if number < 0 and not info.steady:
                # Otherwise the next frame's number or interval shows that this one is missing.
                self._output.note_lost(1)
            self._warn_once(
                "disordered",
                "a frame's time is not later than that of the frame before: not sent",
            )
            self._check_silence()
            return True
        self._count(time_ns, number)
        self._last_usec = time_usec

        loan = self._retrieve()
        if loan is not None:
            loan.send(index=self._index, time_usec=time_usec)
            counts.sent += 1
            counts.estimated += estimated
            self._alive_ns = self._waiting.now_ns()
        else:
            self._output.note_lost(1)
        return True

    def _retrieve(self) -> FrameLoan | None:
        """Return the frame that was grabbed; None, after counting why, when it cannot be sent."""
        info, counts = self._info, self.counts
        try:
            loan = self._output.loan_frame(info.shape, info.dtype)
        except StreamError as error:
            if self._stopping.is_set():
                raise
            counts.unsent += 1
            self._warn_once("unsent", f"no memory for a frame: not sent ({error})")
            self._alive_ns = self._waiting.now_ns()
            return None
        # Without a subscriber no frame needs to be decoded.
        if self._output.connected and not self._backend.retrieve(loan.array):
            loan.discard()
            self._note_damaged()
            return None
        return loan

    def _note_damaged(self) -> None:
        self.counts.damaged += 1
        self._warn_once("damaged", "a frame is damaged: not sent")
        self._check_silence()

    def _pair(self, trigger: FrameTrigger, stamp: Stamp) -> bool:
        """Send the frame that was held and the present one, with the times of their edges."""
        if stamp.damaged:
            self._skip_damaged(trigger, stamp.number)
            return True
        settled, verdict = trigger.take(stamp.time_ns, stamp.number)
        if settled is not None:
            self._finish_held(settled)
        loan = self._retrieve() if verdict.kind != "drop" else None
        if verdict.kind == "hold":
            self._held = loan
        else:
            self._follow(verdict, loan)
        return True

    def _skip_damaged(self, trigger: FrameTrigger, number: int) -> None:
        """Count a frame without a time; its gap is noted with the next pair, or at the end."""
        if trigger.skip(number):
            self._note_damaged()
        else:
            self.counts.lead_in += 1

    def _finish_held(self, verdict: Verdict) -> None:
        loan, self._held = self._held, None
        self._follow(verdict, loan)

    def _flush(self) -> None:
        """Send the frame that is held: no other follows."""
        if self._trigger is not None and (verdict := self._trigger.flush()) is not None:
            self._finish_held(verdict)

    def _follow(self, verdict: Verdict, loan: FrameLoan | None) -> None:
        """Do with a frame what was decided; None is one that could not be decoded."""
        if verdict.kind == "drop":
            if loan is not None:
                loan.discard()
            if verdict.reason == "lead_in":
                self.counts.lead_in += 1
            else:
                self._warn_once("untriggered", "a frame came without a trigger: not sent")
            return
        if not self.in_order:
            self.first_ns = verdict.time_usec * 1000
        self.last_ns = verdict.time_usec * 1000
        self.in_order += 1
        self._lose(verdict.missing - verdict.damaged)
        if verdict.damaged:
            self._output.note_lost(verdict.damaged)
        if loan is None:
            self._output.note_lost(1)
            return
        loan.send(index=verdict.index, time_usec=verdict.time_usec)
        self.counts.sent += 1
        self._alive_ns = self._waiting.now_ns()

    def _count(self, time_ns: int, number: int) -> None:
        """Give the frame its index, and count those that were lost before it."""
        if self._is_first:
            self._is_first = False
            if self.in_order:
                self._index += 1 + self._missed_until(time_ns)
            else:
                self.first_ns = time_ns
                self._index = max(number, 0)
            self._offset = self._index - number
        elif number >= 0:
            missing = number + self._offset - self._index - 1
            if missing < 0:  # the source counts anew
                self._offset -= missing
            self._lose(missing)
            self._index = number + self._offset
            if self._info.steady and not self._info.numbers_complete:
                self._infer(time_ns - self.last_ns, missing)
        else:
            self._index += 1
            if self._info.steady:
                self._rate.add(time_ns - self.last_ns)
                self._lose(self._rate.take_lost())
        self.last_ns = time_ns
        self.in_order += 1

    def _infer(self, interval_nsec: int, missing: int) -> None:
        """Count frames that an interval shows to be lost beyond those that the numbers skip."""
        missing = max(0, missing)
        beyond_nsec = interval_nsec - missing * self._rate.period_nsec
        # Where the numbers explain the interval, also at another rate than the nominal one, it has
        # as many periods as they count.
        self._rate.add(max(beyond_nsec, interval_nsec // (missing + 1)))
        self._lose_inferred()

    def _lose_inferred(self) -> None:
        lost = self._rate.take_lost()
        if not self._info.numbers_complete:
            self.counts.inferred += lost
        self._lose(lost)

    def _lose(self, count: int) -> None:
        """Count frames that never arrived, and leave a gap of that size in the stream."""
        if count > 0:
            self.counts.lost += count
            self._output.note_lost(count)

    def _lose_at_end(self) -> None:
        """Count the frames that a source should still have had, such as a file that was cut."""
        source = source_of(self._backend)
        missing = source.missing_at_end() if isinstance(source, KnownLength) else 0
        if missing:
            self._lose(missing)
            self._warn_once(
                "cut", f"the source ends {missing} frames before the end that it states: it was cut"
            )

    def _missed_until(self, time_ns: int) -> int:
        """Count the frames that were missed since the camera was lost; return their number."""
        period_nsec = self._rate.period_nsec
        if not (self._info.steady and period_nsec):
            return 0
        missed = max(0, round((time_ns - self.last_ns) / period_nsec) - 1)
        self._lose(missed)
        return missed

    def _note_absence(self, reason: NoFrame) -> None:
        """Count a grab that returned no frame, and check for silence."""
        if reason is NoFrame.REPEATED:
            self.counts.repeated += 1
        elif self._trigger is None or self._trigger.waits_usec():
            self.counts.timeouts += 1
        self._check_silence()
        if not self._waiting.is_virtual:
            self._stopping.wait(_RETRY_PAUSE_SEC)

    def _check_silence(self) -> None:
        """Raise DeviceError when the last sign that the camera works is too long ago."""
        silence_nsec, limit_nsec = self._waiting.now_ns() - self._alive_ns, self._silence_limit_nsec
        is_network = self._info.timestamp_source == "arrival"
        remedy = _SILENT_ON_NETWORK if is_network else _SILENT_ON_CABLE
        if self._trigger is not None:
            silence_nsec = min(silence_nsec, self._trigger.waits_usec() * 1000)
            limit_nsec = self._trigger.silence_limit_usec(limit_nsec // 1000) * 1000
            remedy = self._trigger.silence_remedy
        if silence_nsec <= limit_nsec or self._stopping.is_set():
            return
        troubles = ", ".join(f"{n} {name}" for name, n in self.counts.troubles().items())
        raise DeviceError(
            f"no frame for {silence_nsec / 1e9:.1f} s after {self.counts.sent} frames ({troubles})",
            remedy=remedy,
        )

    def _warn_once(self, kind: str, text: str) -> None:
        """Log the first event of a kind; the counts include all of them."""
        if kind not in self._warned:
            self._warned.add(kind)
            self._log.warning("%s (logged once; the summary has the count)", text)
