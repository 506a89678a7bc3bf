"""The module `camera-generic`: connects a camera backend and its capture thread to the run."""

from __future__ import annotations

from contextlib import ExitStack

from mlink.errors import BenchError, DeviceError
from mlink.metadata import Metadata, MetaSize
from mlink.module import Module, ModuleContext
from mlink.realtime import locked_memory, quiet_gc
from mlink_drivers.camera.backend import CameraInfo, CameraRequest, make_backend, shown_address
from mlink_drivers.camera.capture import CaptureThread
from mlink_drivers.camera.catalog import CameraSettings
from mlink_drivers.camera.changes import Changes
from mlink_drivers.camera.framing import paced
from mlink_drivers.camera.loss import LossHandler
from mlink_drivers.camera.rate import RateWatch
from mlink_drivers.camera.source import CameraSource
from mlink_drivers.camera.triggers.triggered import FrameTrigger
from mlink_drivers.trigger import ANSWERS_OUTPUT

_STATUS_PERIOD_USEC = 1_000_000
_RATE_TOLERANCE = 0.05
_SIZE = (640, 480)
_FRAMERATE = 30.0
"""Hz, requested unless the bench has another rate."""


class CameraModule(Module[CameraSettings]):
    """Sends a camera's frames on `video`; changes of settings and connection on `changes`."""

    def __init__(self, context: ModuleContext[CameraSettings]) -> None:
        super().__init__(context)
        self._address = ""
        """The camera's address for logs, without a password."""
        self._source: CameraSource | None = None
        self._info: CameraInfo | None = None
        self._changes: Changes | None = None
        self._loss: LossHandler | None = None
        self._capture: CaptureThread | None = None
        self._rate: RateWatch | None = None
        self._trigger: FrameTrigger | None = None
        self._stuck = False
        self._source_ended = False
        self._memory = ""
        self._quiet = ExitStack()

    def prepare(self) -> None:
        """Open the camera, and describe in the stream's metadata what it delivers.

        Raises:
            BenchError: The module has neither a device nor a camera number.
            DeviceError: The camera cannot be opened, or (with `strict`) refuses a setting.
        """
        address = self._find_address()
        device = self.context.device
        # The address of a virtual device has more parts than the bench file shows.
        self._address = shown_address(device.spec if device is not None else address)
        settings = self.settings
        self._source = CameraSource(
            address,
            CameraRequest(
                size=settings.size or _SIZE,
                size_given=settings.size is not None,
                framerate=settings.framerate or _FRAMERATE,
                framerate_given=settings.framerate is not None,
                triggered=settings.is_triggered,
                silence_sec=settings.silence_sec,
                open_timeout_sec=settings.open_timeout,
                pixel_format=settings.pixel_format,
                convert=settings.convert,
                loop=settings.loop,
                paced=settings.paced,
                controls=settings.all_controls(),
                base_dir=self.context.run_info.bench_dir,
                now_ns=self.context.waiting.now_ns,
            ),
            region=settings.roi,
            greyscale=settings.greyscale,
            make=make_backend,
            shown=self._address,
        )
        info = self._source.open()
        if self.context.waiting.is_virtual and (
            paced(self._source.backend) is None or not settings.paced
        ):
            raise DeviceError(
                f"{self._address} runs in real time only",
                remedy="In virtual time use virtual:scene, or file:… and images:… with their pace.",
            )
        self._info = info
        self._report_answers(info)
        self.context.outputs["video"].metadata.update(
            size=MetaSize(*info.size),
            framerate=info.framerate,
            has_color=info.has_color,
            timestamp_source=info.timestamp_source,
            uncertainty_usec=info.uncertainty_usec,
        )
        known: Metadata = {
            "pixel_format": info.pixel_format,
            "timestamp_moment": info.timestamp_moment,
            "bits": (info.bits or 16) if info.dtype.itemsize > 1 else 0,
        }
        self.context.outputs["video"].metadata.update({k: v for k, v in known.items() if v})
        self.log.info(
            "%s: %d×%d at %.3g fps, times from %s (±%d µs)",
            self._address,
            *info.size,
            info.framerate,
            info.timestamp_source,
            info.uncertainty_usec,
        )
        if settings.edges is not None:
            self._trigger = FrameTrigger(
                settings.edges,
                self.context.inputs,
                self.context.outputs[ANSWERS_OUTPUT],
                self.context.clock,
                self.log,
                self._address,
            )
            self._info = self._trigger.describe(info)
            self.context.outputs["video"].metadata.update(self._trigger.metadata())
        self._changes = Changes(
            self.context.inputs,
            self.context.outputs["changes"],
            self.context.clock,
            self.log,
            self._source.adjust,
            self._source.controls(),
            self.context.refuse,
        )
        self.context.outputs["changes"].metadata["data_name_proposal"] = (
            f"{self.context.name}-changes/table"
        )
        self._quiet.enter_context(quiet_gc())  # slow, and so not in start()
        if info.live:
            self._memory = self._quiet.enter_context(locked_memory())
            self.log.info("%s", self._memory)

    def _find_address(self) -> str:
        """Return the address to open: the bench's device, else the numbered camera."""
        if self.context.device is not None:
            return self.context.device.address
        if self.settings.camera is not None:
            return f"/dev/video{self.settings.camera}"
        raise BenchError(
            f"module '{self.context.name}' has no camera",
            remedy='Name one under [devices], e.g. eye = "/dev/video0", '
            'and write device = "eye" in the module\'s table.',
        )

    def _report_answers(self, info: CameraInfo) -> None:
        """Report the camera's answer to each setting; with `strict`, a difference is an error."""
        for answer in info.answers:
            self.context.report(answer.setting, f"asked {answer.asked}, got {answer.got}")
            if answer.same:
                self.log.info("%s: %s", self._address, answer)
        if not info.differences:
            return
        if self.settings.strict:
            differences = "; ".join(str(difference) for difference in info.differences)
            raise DeviceError(
                f"{self._address} does not adopt its settings: {differences}",
                remedy="Choose settings that the camera offers (`mlink devices --modes`), "
                "or set strict = false.",
            )
        for difference in info.differences:
            self.log.warning("%s: %s", self._address, difference)

    def start(self) -> None:
        """Start the capture thread."""
        assert self._source is not None
        assert self._info is not None
        assert self._changes is not None
        settings = self.settings
        self._loss = LossHandler(
            self._source,
            self.log,
            on_loss=settings.on_loss,
            on_reconnect=settings.on_reconnect,
            on_change=self._changes.connection,
            request_stop=self.context.request_stop,
        )
        self._rate = RateWatch(self._info.framerate, _RATE_TOLERANCE)
        self._capture = CaptureThread(
            self._source.backend,
            self._info,
            self.context.outputs["video"],
            self.context.clock,
            self.log,
            self.context.waiting,
            fail=self.context.fail,
            ended=self._on_end,
            recover=self._loss.recover if self._info.live else None,
            affinity=settings.affinity,
            silence_limit_nsec=round(settings.silence_sec * 1e9),
            trigger=self._trigger,
        )
        self._capture.start()

    def run(self) -> None:
        """Serve commands and show the rate until the run stops."""
        while self.context.running:
            self.context.serve(_STATUS_PERIOD_USEC)
            self._show()

    def _show(self) -> None:
        """Update the status; warn when the rate differs from the one that the camera announced."""
        assert self._capture is not None
        assert self._info is not None
        assert self._loss is not None
        assert self._rate is not None
        if self._source_ended or self._loss.lost:
            self.context.set_status("ended" if self._source_ended else "lost")
            return
        self.context.set_status(f"{self._rate.measured or self._capture.framerate:.1f} fps")
        capture = self._capture
        if not (self._info.steady and capture.in_order):
            return
        frames = capture.in_order + capture.counts.lost
        if not self._rate.check(frames, capture.first_ns, capture.last_ns):
            return
        if self._rate.is_off:
            self.log.warning(
                "%s delivers %.3g frames per second, not %.3g (automatic exposure in a dark room "
                "halves the rate of many cameras)",
                self._address,
                self._rate.measured,
                self._info.framerate,
            )
        else:
            self.log.info("%s delivers %.1f frames per second again", self._address,
                          self._rate.measured)  # fmt: skip

    def _on_end(self) -> None:
        """Handle the end of the source; called in the capture thread."""
        self._source_ended = True
        self.log.info("%s has ended", self._address)
        if self.settings.end_of_source == "stop":
            self.context.request_stop(f"{self._address} has ended")

    def halt(self) -> None:
        """Stop capturing and report the counts.

        Raises:
            DeviceError: The driver does not return from a grab.
        """
        if self._capture is None:
            return
        self._stuck = not self._capture.stop()
        self._report(self._capture)
        if self._stuck:
            raise DeviceError(
                f"the driver of {self._address} does not return",
                remedy="Plug the camera in again; see the kernel's log (dmesg).",
            )

    def stop(self) -> None:
        """Report what became of frames and edges, of which all are known now."""
        if self._trigger is None or self._stuck or self._capture is None:
            return
        self._trigger.finish()
        self._trigger.report(self.context.report)
        for what, remedy in self._trigger.losses():
            self.context.note_loss(what, remedy)

    def _report(self, capture: CaptureThread) -> None:
        """Report counts, rate and outages of the run."""
        report = self.context.report
        report("frames", capture.counts.sent)
        if capture.framerate:
            report("framerate_measured", round(capture.framerate, 3))
        report("lost", capture.counts.lost)
        for name, count in capture.counts.troubles().items():
            report(name, count)
        if self._loss is not None and self._loss.outages:
            report("outages", self._loss.outages)
            if self._loss.outage_sec:  # one that ends the run has no length
                report("outage_s", round(self._loss.outage_sec, 3))
        if self._changes is not None and self._changes.count:
            report("changes", self._changes.count)
        if self._source is not None:
            for name, figure in self._source.figures().items():
                report(name, figure)
        if self._info is not None:
            report("timestamp_source", self._info.timestamp_source)
        if capture.granted is not None:
            report("priority", capture.granted.brief)
            report("memory", self._memory.partition(";")[0])

    def close(self) -> None:
        """Close the camera, unless the capture thread is stuck in its driver."""
        if self._capture is not None and not self._stuck:
            self._stuck = not self._capture.stop()
        if self._source is not None and not self._stuck:
            self._source.close()
            self._source = None
        self._quiet.close()
