"""In the guest: `camera-generic` on a V4L2 node for some seconds; prints the results as JSON.

camera_frames.py NODE SECONDS SETTINGS [TRIALS]

TRIALS, a list of [node, settings], are opened afterwards; "unplug" among them disconnects NODE
during a run.
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink.metadata import MetaSize
from mlink_drivers.camera.catalog import CameraSettings, camera_generic
from mlink_drivers.camera.module import CameraModule
from mlink_drivers.discovery import list_devices
from tests.support.fake_context import FakeContext

LOGGED = []


def keep_log():
    handler = logging.Handler()
    handler.emit = lambda record: LOGGED.append(record.getMessage())
    logging.getLogger("mlink").addHandler(handler)
    logging.getLogger("mlink").setLevel(logging.INFO)


def make_module(node, settings):
    context = FakeContext(
        camera_generic,
        msgspec.convert(settings, CameraSettings),
        Path(tempfile.mkdtemp()),
        device=DeviceEndpoint(name="eye", spec=node, address=node),
        clock=MasterClock(),
    )
    return CameraModule(context), context


def open_only(node, settings):
    """Open a camera; return the metadata and the log, or the error."""
    LOGGED.clear()
    module, context = make_module(node, settings)
    try:
        module.prepare()
    except DeviceError as error:
        return {"error": str(error)}
    finally:
        module.close()
    metadata = context.outputs["video"].metadata
    return {"size": list(metadata["size"]), "color": metadata["has_color"], "logged": [*LOGGED]}


def unplug(node):
    """Disconnect the camera during a run; return the failures, and after how many seconds."""
    module, context = make_module(node, {"size": [320, 180]})
    module.prepare()
    context.clock.t0_monotonic_ns = time.monotonic_ns()
    module.start()
    time.sleep(0.5)
    subprocess.run(["v4l2-ctl", "-d", node, "-c", "disconnect=1"], check=True)
    gone = time.monotonic()
    context.failed.wait(10)
    seconds = time.monotonic() - gone
    module.halt()
    module.close()
    failures = [str(failure) for failure in context.failures]
    return {"failures": failures, "seconds": seconds}


def record(node, seconds, settings):
    module, context = make_module(node, settings)
    module.prepare()
    time.sleep(0.5)  # the driver queues frames meanwhile; none of them may be sent
    context.clock.t0_monotonic_ns = time.monotonic_ns()
    module.start()
    context.failed.wait(seconds)
    stopped_usec = context.clock.now_usec()
    module.halt()
    module.close()
    frames = context.outputs["video"].items
    return {
        "failures": [str(failure) for failure in context.failures],
        "times": [frame.time_usec for frame in frames],
        "indices": [frame.index for frame in frames],
        "shapes": sorted({frame.view.shape for frame in frames}),
        "stopped_usec": stopped_usec,
        "metadata": {
            key: list(value) if isinstance(value, MetaSize) else value
            for key, value in context.outputs["video"].metadata.items()
        },
        "reports": context.reports,
        "logged": [*LOGGED],
        "devices": msgspec.to_builtins(list_devices()),
    }


if __name__ == "__main__":
    keep_log()
    seen = record(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3]))
    trials = json.loads(sys.argv[4]) if len(sys.argv) > 4 else []
    seen["trials"] = [
        unplug(sys.argv[1]) if trial == "unplug" else open_only(*trial) for trial in trials
    ]
    print(json.dumps(seen))
