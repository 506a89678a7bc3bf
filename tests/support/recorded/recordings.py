"""Makes small recordings as engine and recorders make them, closed or as a kill leaves them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mlink.modules.data.catalog import TableSettings, table
from mlink.modules.data.table import TableModule
from mlink.modules.video.catalog import VideoRecorderSettings, videorecorder
from mlink.modules.video.recorder import VideoRecorderModule
from mlink.storage.edl import create_collection
from mlink.types import Frame
from tests.support.fake_context import FakeContext

RUN_ID = bytes(range(16))
"""The collection id of FakeContext's run."""
FRAMES = 90


def picture(i, shape=(48, 64, 3)):
    """A picture that shows which one it is: its first row holds the number."""
    mat = np.random.default_rng(i).integers(0, 60, shape, np.uint8)
    cv2.circle(mat, (i % shape[1], shape[0] // 2), 6, (255,) * 3, -1)
    mat[0] = i % 256
    return mat


def time_of(i):
    """µs of frame and row i: 30 Hz with jitter."""
    return 1_000 + i * 33_333 + i % 7


class LiveRecording:
    """A recording in progress: a camera's video and a table of events."""

    def __init__(self, folder: Path, **video_settings) -> None:
        self.path = folder / "recording"
        self.collection = create_collection(
            self.path, collection_id=RUN_ID, generator="mlink test",
            attributes={"subject_id": "m7"},
        )  # fmt: skip
        self.video = FakeContext(
            videorecorder, VideoRecorderSettings(**video_settings), folder, name="video"
        )
        self.video.inputs["frames-in"].metadata = {
            "framerate": 30.0, "src_mod_name": "cam", "timestamp_source": "kernel",
            "uncertainty_usec": 200, "data_name_proposal": "cam/video",
        }  # fmt: skip
        # The datasets "video" and "events/table", as earlier versions placed them.
        created = self.video.create_dataset
        self.video.create_dataset = lambda *_, **__: created("video")
        settings = TableSettings(use_name_from_source=False, data_name="events/table")
        self.events = FakeContext(table, settings, folder, name="events")
        self.events.inputs["rows"].metadata = {
            "table_header": ["time_usec", "what"],
        }  # fmt: skip
        self.modules = [VideoRecorderModule(self.video), TableModule(self.events)]
        for module in self.modules:
            module.prepare()
            module.start()
        self.count = 0

    def feed(self, count: int, at=time_of) -> LiveRecording:
        for _ in range(count):
            i, self.count = self.count, self.count + 1
            frame = Frame.from_array(picture(i), i, at(i))
            self.video.inputs["frames-in"].on_item(frame)
            self.events.inputs["rows"].on_item([str(at(i)), f'what "{i}"; or\nnot'])
        return self

    def account(self, *, video: int = 0, events: int = 0) -> list[dict[str, Any]]:
        """Return the account of the run, in which so many items more were sent and lost."""
        return [
            {
                "name": name,
                "sent": self.count + lost,
                "subscriptions": [
                    {"module": module, "port": port, "received": self.count, "lost": lost}
                ],
            }
            for name, module, port, lost in (
                ("cam.video", "video", "frames-in", video),
                ("loop.events", "events", "rows", events),
            )
        ]

    def close(self) -> Path:
        for module in self.modules:
            module.stop()
            module.close()
        self.collection.save(
            True, recording_length_msec=3_000, attributes={"streams": self.account()}
        )
        return self.path

    def as_a_kill_leaves_it(self, target: Path) -> Path:
        """Copy what is on the disk at this moment: no process's buffers are in it."""
        shutil.copytree(self.path, target)
        return target


def closed_recording(folder: Path, frames: int = FRAMES, **video_settings) -> Path:
    """A whole recording of `frames` frames and rows."""
    return LiveRecording(folder, **video_settings).feed(frames).close()
