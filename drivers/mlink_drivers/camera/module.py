"""The module `camera-generic`: a camera backend, its capture thread, and their report."""

from __future__ import annotations

from contextlib import ExitStack

from mlink.errors import BenchError, DeviceError
from mlink.metadata import MetaSize
from mlink.module import Module, ModuleContext
from mlink.realtime import quiet_gc
from mlink_drivers.camera.backend import CameraBackend, CameraInfo, CameraRequest, make_backend
from mlink_drivers.camera.capture import CaptureThread
from mlink_drivers.camera.catalog import CameraSettings

_STATUS_PERIOD_USEC = 1_000_000
_RATE_TOLERANCE = 0.05
_RATE_FRAMES = 30
"""So many frames must have come before the measured rate is judged."""


class CameraModule(Module[CameraSettings]):
    """Sends a camera's frames on `video`."""

    def __init__(self, context: ModuleContext[CameraSettings]) -> None:
        super().__init__(context)
        self._address = ""
        self._backend: CameraBackend | None = None
        self._info: CameraInfo | None = None
        self._capture: CaptureThread | None = None
        self._stuck = False
        self._source_ended = False
        self._rate_warned = False
        self._quiet = ExitStack()

    def prepare(self) -> None:
        """Open the camera and say in the metadata what it delivers."""
        self._address = self._find_address()
        self._backend = make_backend(self._address)
        settings = self.settings
        info = self._backend.open(
            self._address,
            CameraRequest(
                size=settings.size,
                framerate=settings.framerate,
                pixel_format=settings.pixel_format,
                loop=settings.loop,
                paced=settings.paced,
                base_dir=self.context.run_info.bench_dir,
            ),
        )
        self._info = info
        self._check_differences(info)
        self.context.outputs["video"].metadata.update(
            size=MetaSize(*info.size),
            framerate=info.framerate,
            has_color=info.has_color,
            timestamp_source=info.timestamp_source,
            uncertainty_usec=info.uncertainty_usec,
        )
        self.log.info(
            "%s: %d×%d at %.3g fps, times from %s (±%d µs)",
            self._address,
            *info.size,
            info.framerate,
            info.timestamp_source,
            info.uncertainty_usec,
        )
        self._quiet.enter_context(quiet_gc())  # here and not in start(): it takes a while

    def _find_address(self) -> str:
        """Return what to open: the bench's device, else the numbered camera."""
        if self.context.device is not None:
            return self.context.device.address
        if self.settings.camera is not None:
            return f"/dev/video{self.settings.camera}"
        raise BenchError(
            f"module '{self.context.name}' has no camera",
            remedy='Name one under [devices], e.g. eye = "/dev/video0", '
            'and write device = "eye" in the module\'s table.',
        )

    def _check_differences(self, info: CameraInfo) -> None:
        """Report settings that the camera did not take; an error when `strict`."""
        if not info.differences:
            return
        told = "; ".join(str(difference) for difference in info.differences)
        if self.settings.strict:
            raise DeviceError(
                f"{self._address} does not do what was asked: {told}",
                remedy="Ask for what the camera offers, or set strict = false.",
            )
        for difference in info.differences:
            self.log.warning("%s: %s", self._address, difference)

    def start(self) -> None:
        """Start the capture thread."""
        assert self._backend is not None
        assert self._info is not None
        self._capture = CaptureThread(
            self._backend,
            self._info,
            self.context.outputs["video"],
            self.context.clock,
            self.log,
            fail=self.context.fail,
            ended=self._on_end,
        )
        self._capture.start()

    def run(self) -> None:
        """Show the rate once a second until a stop is asked."""
        while self.context.running:
            self.context.serve(_STATUS_PERIOD_USEC)
            self._show()

    def _show(self) -> None:
        """Update the status; warn once when the camera is slower or faster than it said."""
        assert self._capture is not None
        assert self._info is not None
        if self._source_ended:
            self.context.set_status("ended")
            return
        rate, expected = self._capture.framerate, self._info.framerate
        self.context.set_status(f"{rate:.1f} fps")
        if (
            self._info.steady
            and not self._rate_warned
            and self._capture.in_order >= _RATE_FRAMES
            and abs(rate - expected) > _RATE_TOLERANCE * expected
        ):
            self._rate_warned = True
            self.log.warning(
                "%s delivers %.1f frames per second, not %.1f (automatic exposure in a dark room "
                "halves the rate of many cameras)",
                self._address,
                rate,
                expected,
            )

    def _on_end(self) -> None:
        """Take note of the source's end (in the capture thread)."""
        self._source_ended = True
        self.log.info("%s has ended", self._address)
        if self.settings.end_of_source == "stop":
            self.context.request_stop(f"{self._address} has ended")

    def halt(self) -> None:
        """Stop capturing and report what was captured."""
        if self._capture is None:
            return
        self._stuck = not self._capture.stop()
        self._report(self._capture)
        if self._stuck:
            raise DeviceError(
                f"the driver of {self._address} does not return",
                remedy="Plug the camera in again; see the kernel's log (dmesg).",
            )

    def _report(self, capture: CaptureThread) -> None:
        """Give the figures of the run."""
        report = self.context.report
        report("frames", capture.counts.sent)
        report("framerate", round(capture.framerate, 3))
        report("lost", capture.counts.lost)
        for name, count in capture.counts.troubles().items():
            report(name, count)
        if self._info is not None:
            report("timestamp_source", self._info.timestamp_source)
        if capture.granted is not None:
            report("priority", capture.granted.detail)

    def close(self) -> None:
        """Close the camera, unless its driver still holds the capture thread."""
        if self._capture is not None and not self._stuck:
            self._stuck = not self._capture.stop()
        if self._backend is not None and not self._stuck:
            self._backend.close()
            self._backend = None
        self._quiet.close()
