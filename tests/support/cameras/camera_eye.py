"""`camera-generic` without a run, for tests in the rig."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

import msgspec

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink_drivers.camera.catalog import CameraSettings, camera_generic
from mlink_drivers.camera.module import CameraModule
from tests.support.fake_context import FakeContext

LOGGED: list[str] = []


def keep_log():
    handler = logging.Handler()
    handler.emit = lambda record: LOGGED.append(record.getMessage())
    logging.getLogger("mlink").addHandler(handler)
    logging.getLogger("mlink").setLevel(logging.INFO)


class Eye:
    """A camera module on a node, with the moment at which each frame was sent."""

    def __init__(self, node, **settings):
        self.context = FakeContext(
            camera_generic,
            msgspec.convert({"size": [320, 180], "framerate": 30, **settings}, CameraSettings),
            Path(tempfile.mkdtemp()),
            name=Path(node).name,
            device=DeviceEndpoint(name="eye", spec=node, address=node),
            clock=MasterClock(),
        )
        self.arrivals = []
        self.video = self.context.outputs["video"]
        submit = self.video.submit
        self.video.submit = lambda frame: (
            self.arrivals.append(self.context.clock.now_usec()),
            submit(frame),
        )
        self.module = CameraModule(self.context)

    def prepare(self):
        self.module.prepare()
        return self

    def start(self, t0_ns):
        self.context.clock.t0_monotonic_ns = t0_ns
        self.module.start()

    def stop(self):
        self.module.halt()
        self.module.close()
        frames = self.video.items
        return {
            "times": [frame.time_usec for frame in frames],
            "indices": [frame.index for frame in frames],
            "arrivals": self.arrivals,
            "failures": [str(failure) for failure in self.context.failures],
            "changes": self.context.outputs["changes"].items,
            "reports": self.context.reports,
        }

    def wait_for(self, count, seconds=60):
        end = time.monotonic() + seconds
        while len(self.video.items) < count and time.monotonic() < end:
            time.sleep(0.01)


def attempt(node, **settings):
    """Open a camera and close it; return "open", or why it cannot be opened."""
    eye = Eye(node, **settings)
    try:
        eye.prepare()
    except DeviceError as error:
        return str(error)
    finally:
        eye.module.close()
    return "open"
