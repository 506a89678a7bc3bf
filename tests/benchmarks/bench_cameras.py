"""Cameras: CPU of the capture path, 1080p at 60 fps through a whole run, and the spread of stamps.

(1) A 1080p MJPEG file is read by a bare cv2 grab/retrieve loop and by our capture thread, without
    a consumer and with three; and so the buffers of a V4L2 camera in memory. CPU of the capturing
    process, all threads.
(2) Cameras to a script and a recorder, in whole runs: V4L2 in memory, with pictures to decode, and
    one whose pictures cost nothing.
(3) A generator at real-time priority sends its own time every 10 ms; how much later is the
    stamp, with two busy processes beside it?
Run: python -m tests.benchmarks.bench_cameras
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import struct
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mlink.bench import load_bench
from mlink.clock import MasterClock
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import RunResult
from mlink.module import PortSpec
from mlink.opencv import cv2
from mlink.realtime import quiet_gc, request_priority
from mlink.transport.codec import HEADER_BYTES
from mlink.types import DataType
from mlink.waiting import ServiceLoop
from mlink.worker.output_port import WorkerOutput
from mlink_drivers.camera.backend import CameraBackend, CameraInfo, CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.capture import CaptureThread
from mlink_drivers.camera.video_file import VideoFileCamera
from tests.benchmarks.film import FilmCamera
from tests.benchmarks.harness import Silent, cpu_s, forked, interleaved
from tests.benchmarks.table import Table, arguments, median, percentile, publish
from tests.support import ROOT
from tests.support.streams import SharedStream

SHAPE = (1080, 1920, 3)
FRAME_BYTES = 1080 * 1920 * 3
CLIP = "clip.avi"
CLIP_FRAMES = 60
CONSUMERS = 3
QUEUE = 8
LOG = logging.getLogger("mlink.bench.cameras")


def make_clip(folder: Path) -> None:
    """Write a 1080p clip in MJPEG, as USB cameras send it: a picture with some detail."""
    picture = detailed_picture(1920, 1080)
    with av.open(str(folder / CLIP), "w") as container:
        stream = container.add_stream("mjpeg", rate=60)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuvj422p"
        for number in range(CLIP_FRAMES):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 8 * number, 1), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


# --- (1) CPU of the capture path ---------------------------------------------------------------


def bare(clip: str, seconds: float, answer: Connection) -> None:
    """Grab and retrieve, as a script without mlink would."""
    cv2.setNumThreads(1)
    frames, began, cpu = 0, time.monotonic(), cpu_s()
    capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG)
    while time.monotonic() - began < seconds:
        if not capture.grab():
            capture.release()
            capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG)
            continue
        ok, _ = capture.retrieve()
        frames += ok
    answer.send((cpu_s() - cpu) / frames * 1e3)


def ours(
    backend: CameraBackend, address: str, seconds: float, answer: Connection,
    stream: SharedStream | None,
) -> None:  # fmt: skip
    """Let our capture thread do the same, into shared memory when there are consumers."""
    cv2.setNumThreads(1)
    output = WorkerOutput(PortSpec("video", DataType.Frame))
    output.open(*stream.output() if stream is not None else (None, []))
    answer.send("open")
    answer.recv()
    info = backend.open(address, CameraRequest(size=(1920, 1080), loop=True, paced=False))
    cpu = cpu_s()
    capture = CaptureThread(
        backend, info, output, MasterClock(time.monotonic_ns()), LOG, ServiceLoop("bench"),
        fail=print, ended=print,
    )  # fmt: skip
    with quiet_gc():
        capture.start()
        time.sleep(seconds)
        capture.stop()
    answer.send((cpu_s() - cpu) / capture.counts.sent * 1e3)
    answer.recv()  # the consumers still hold its memory


def consume(stream: SharedStream, number: int, answer: Connection) -> None:
    """Receive frames and look at 100 of their pixels."""
    reader = stream.reader(number)
    poll = select.poll()
    poll.register(reader.fileno(), select.POLLIN)
    answer.send("open")
    while not answer.poll(0):
        if (frame := reader.receive()) is None:
            poll.poll(20)
            continue
        int(frame.view[8::108, 1::192, 0].sum())
    answer.send(reader.received)


def measure_cpu(kind: str, clip: Path, seconds: float) -> float:
    """Return the CPU time of the capturing process per frame in ms."""
    mine, theirs = forked.Pipe()
    if kind == "bare":
        process = forked.Process(target=bare, args=(str(clip), seconds, theirs), daemon=True)
        process.start()
        result: float = mine.recv()
        process.join()
        return result
    count = CONSUMERS if "three" in kind else 0
    backend: CameraBackend = VideoFileCamera()
    address = f"file:{clip}"
    if "V4L2" in kind:
        backend, address = FilmCamera(), f"film:{clip}?unpaced"
    stream = None
    if count:
        queues = [QUEUE] * count
        stream = SharedStream(
            DataType.Frame, *queues, likely_bytes=HEADER_BYTES + FRAME_BYTES, borrowed=4
        )
    arguments_ = (backend, address, seconds, theirs, stream)
    process = forked.Process(target=ours, args=arguments_, daemon=True)
    process.start()
    assert mine.recv() == "open"
    consumers = []
    for number in range(count):
        near, far = forked.Pipe()
        each = forked.Process(target=consume, args=(stream, number, far), daemon=True)
        each.start()
        assert near.recv() == "open"
        consumers.append((each, near))
    mine.send("go")
    result = mine.recv()
    for each, near in consumers:
        near.send("stop")
        near.recv()
        each.join()
    mine.send("done")
    process.join()
    return result


def cpu_table(options: Any) -> Table:
    kinds = ("bare", "none", "three", "V4L2, three")
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a fork of one whose OpenCV has threads would wait for them.
        maker = forked.Process(target=make_clip, args=(Path(folder),))
        maker.start()
        maker.join()
        clip = Path(folder, CLIP)
        found = interleaved(
            kinds, options.rounds, lambda kind: measure_cpu(kind, clip, options.seconds)
        )
    table = Table(
        f"(e) capture of 1080p MJPEG, CPU of the capturing process, {options.rounds} × "
        f"{options.seconds:g} s",
        ["CPU ms/frame"],
    )
    costs = {kind: median(rounds) for kind, rounds in found.items()}
    table.add("bare cv2 grab, retrieve", f"{costs['bare']:.2f}", cpu_ms=costs["bare"])
    for kind in kinds[1:]:
        ratio = costs[kind] / costs["bare"]
        name = f"mlink, {kind} consumer{'s' * ('three' in kind)}".replace("none", "no")
        table.add(name, f"{costs[kind]:.2f}", ratio=ratio, target="≤ 1.1 × bare", ok=ratio <= 1.1,
                  cpu_ms=costs[kind])  # fmt: skip
    table.notes.append("without a consumer nothing is decoded: a frame is only grabbed and stamped")
    return table


# --- (2) whole runs ----------------------------------------------------------------------------


def detailed_picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture with some detail, such as a scene has."""
    random = np.random.default_rng(1)
    small = random.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


class CostlessCamera:
    """Frames on time that cost nothing: each piece of shared memory gets the picture once."""

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        self._period_nsec = round(1e9 / request.framerate)
        self._picture = detailed_picture(*request.size)
        self._drawn: set[int] = set()
        return CameraInfo(
            self._picture.shape, self._picture.dtype, request.framerate, "generator", 0
        )

    def start(self) -> None:
        self._start_ns = time.monotonic_ns()
        self._next = 0

    def grab(self) -> Stamp | NoFrame:
        elapsed = time.monotonic_ns() - self._start_ns
        self._next = max(self._next, elapsed // self._period_nsec)
        due_ns = self._start_ns + self._next * self._period_nsec
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        self._next += 1
        return Stamp(due_ns, self._next - 1)

    def retrieve(self, into: Any) -> bool:
        address = into.__array_interface__["data"][0]
        if address not in self._drawn:
            self._drawn.add(address)
            np.copyto(into, self._picture)
        into.reshape(-1)[:8].view(np.int64)[0] = self._next
        return True

    def close(self) -> None:
        pass


RUN = """
[bench]
name = "cameras"
[modules.camera]
type = "camera-generic"
device = "{device}"
size = [{width}, {height}]
framerate = {rate}
[modules.script]
type = "pyscript"
script = "look.py"
ports_in = [{{ id = "frames", data_type = "Frame" }}]
inputs = {{ frames = "camera.video" }}
[modules.video]
type = "videorecorder"
video_codec = "{codec}"
inputs = {{ frames-in = "camera.video" }}
"""

LOOK = """
import syntalos_mlink as syl

def on_frame(frame):
    int(frame.mat[8::108, 1::192, 0].sum())

syl.get_input_port("frames").on_data = on_frame
"""

ENTRY_POINTS = """[mlink.cameras]
costless = tests.benchmarks.bench_cameras:CostlessCamera
film = tests.benchmarks.film:FilmCamera
"""
METADATA = "Metadata-Version: 2.1\nName: mlink-bench-camera\nVersion: 0\n"
COSTLESS = "costless:"
LOADS = [
    ("film:clip.avi", "mjpeg", 1920, 1080, 60),
    (COSTLESS, "mjpeg", 1920, 1080, 60),
    (COSTLESS, "mjpeg", 1920, 1080, 120),
    (COSTLESS, "ffv1", 1280, 720, 60),
    (COSTLESS, "ffv1", 1920, 1080, 30),
    (COSTLESS, "ffv1", 1920, 1080, 60),
    (COSTLESS, "raw", 640, 480, 60),
    (COSTLESS, "raw", 1280, 720, 60),
    (COSTLESS, "raw", 1920, 1080, 60),
]
TARGET = LOADS[0]
"""No loss at this load, in the long run; the others show where it breaks."""


def whole_run(folder: Path, device: str, width: int, height: int, rate: float, codec: str,
              seconds: float) -> RunResult:  # fmt: skip
    (folder / "look.py").write_text(LOOK)
    if CLIP in device:
        maker = forked.Process(target=make_clip, args=(folder,))
        maker.start()
        maker.join()
        device = device.replace(CLIP, str(folder / CLIP))
    text = RUN.format(device=device, width=width, height=height, rate=rate, codec=codec)
    (folder / "bench.toml").write_text(text)
    bench = load_bench(folder / "bench.toml")
    options = RunOptions(duration_s=seconds, out_dir=folder / "rec")
    return Engine(bench, options, Silent()).run()


def install_cameras(folder: Path) -> None:
    """Let them be found as anybody's camera is: by their entry points."""
    info = folder / "mlink_bench_camera-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    sys.path.insert(0, str(folder))  # the bench is checked in this process


def run_table(options: Any) -> Table:
    table = Table(
        "(f) a camera to one script and one recorder",
        ["s", "frames", "source lost", "script lost", "recorder lost"],
    )
    loads = [load for load in LOADS if not options.codec or load[1] == options.codec]
    for load in loads:
        device, codec, width, height, rate = load
        is_target = load == TARGET
        length = options.long if is_target else options.length
        with tempfile.TemporaryDirectory(dir=options.dir) as name:
            folder = Path(name)
            install_cameras(folder)
            result = whole_run(folder, device, width, height, rate, codec, length)
        stream = next(s for s in result.streams if s.name == "camera.video")
        lost = {sub.module: sub.lost for sub in stream.subscriptions}
        source = float(result.reports["camera"].get("lost", 0))
        all_lost = source + sum(lost.values())
        table.add(
            f"{codec} {width}×{height} at {rate} fps, "
            + ("no cost" if device == COSTLESS else "V4L2 MJPG"),
            f"{length:g}", str(stream.sent), f"{source:.0f}", str(lost["script"]),
            str(lost["video"]),
            target="no loss" if is_target else "",
            ok=not all_lost and result.success if is_target else None,
            frames=stream.sent, lost=all_lost,
        )  # fmt: skip
    table.notes.append(f"{len(os.sched_getaffinity(0))} processors, shared with whatever runs")
    return table


# --- (3) the spread of stamps ------------------------------------------------------------------

_TICK = struct.Struct("=q")
TICK_SEC = 0.01
WARM_UP = 50
"""Ticks that come while the reader is still starting are not looked at."""


def tick(fd: int, seconds: float) -> None:
    """Write, every 10 ms, the time at which that is done."""
    request_priority(50)
    due = time.monotonic()
    end = due + seconds
    while due < end:
        due += TICK_SEC
        time.sleep(max(0, due - time.monotonic()))
        os.write(fd, _TICK.pack(time.monotonic_ns()))
    os.close(fd)


class TickCamera:
    """Waits for a tick as a driver waits for a frame, and notes how late its stamp is."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.late_usec: list[float] = []

    def grab(self) -> Stamp | NoFrame:
        data = os.read(self.fd, _TICK.size)
        now_ns = time.monotonic_ns()
        if len(data) < _TICK.size:
            return NoFrame.END
        self.late_usec.append((now_ns - _TICK.unpack(data)[0]) / 1e3)
        return Stamp(now_ns)

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        return CameraInfo((48, 64, 3), np.dtype(np.uint8), 1 / TICK_SEC, "host", 1000)

    def start(self) -> None:
        pass

    def retrieve(self, into: Any) -> bool:
        return True

    def close(self) -> None:
        pass


def busy(stop: threading.Event | None = None) -> None:
    """Compute, in Python, until asked to stop."""
    count = 0
    while stop is None or not stop.is_set():
        count += sum(range(100))


def stamp_plainly(fd: int, answer: Connection) -> None:
    """Read in one loop, with a busy thread in the same process, as scripts without mlink do."""
    stop = threading.Event()
    worker = threading.Thread(target=busy, args=(stop,), daemon=True)
    worker.start()
    camera = TickCamera(fd)
    while camera.grab() is not NoFrame.END:
        pass
    stop.set()
    answer.send(camera.late_usec)


def stamp_with_mlink(fd: int, answer: Connection) -> None:
    """Let our capture thread read, in its process of its own."""
    camera = TickCamera(fd)
    output = WorkerOutput(PortSpec("video", DataType.Frame))
    output.open(None, [])
    ended = threading.Event()
    capture = CaptureThread(
        camera, camera.open("", CameraRequest()), output, MasterClock(time.monotonic_ns()), LOG,
        ServiceLoop("bench"), fail=lambda error: ended.set(), ended=ended.set,
    )  # fmt: skip
    with quiet_gc():
        capture.start()
        ended.wait()
        capture.stop()
    answer.send(camera.late_usec)


def measure_stamps(kind: Any, seconds: float) -> list[float]:
    """Return how late each stamp was, in µs, beside two busy processes."""
    load = [forked.Process(target=busy, daemon=True) for _ in range(2)]
    for process in load:
        process.start()
    read, write = os.pipe()
    mine, theirs = forked.Pipe()
    reader = forked.Process(target=_close_and, args=(write, kind, read, theirs), daemon=True)
    reader.start()
    os.close(read)
    writer = forked.Process(target=tick, args=(write, seconds), daemon=True)
    writer.start()
    os.close(write)
    late: list[float] = mine.recv()[WARM_UP:]
    for process in (reader, writer):
        process.join()
    for process in load:
        process.kill()
        process.join()
    return late


def _close_and(other: int, kind: Any, fd: int, answer: Connection) -> None:
    os.close(other)
    kind(fd, answer)


def stamp_table(options: Any) -> Table:
    kinds = (stamp_with_mlink, stamp_plainly)
    found = interleaved(kinds, options.rounds, lambda kind: measure_stamps(kind, options.seconds))
    table = Table(
        f"(g) stamp − the generator's own time, two busy processes beside it, {options.rounds} × "
        f"{options.seconds:g} s at {1 / TICK_SEC:g} Hz",
        ["p50 µs", "p99 µs", "max µs"],
    )
    names = {stamp_with_mlink: "mlink's capture thread", stamp_plainly: "a loop, a busy thread"}
    p99 = {}
    for kind in kinds:
        late = [sample for each in found[kind] for sample in each]
        p99[kind] = percentile(late, 0.99)
        table.add(
            names[kind], f"{percentile(late, 0.5):.0f}", f"{p99[kind]:.0f}", f"{max(late):.0f}",
            ratio=p99[kind] / p99[stamp_with_mlink],
            p50_us=percentile(late, 0.5), p99_us=p99[kind], max_us=max(late),
        )  # fmt: skip
    granted: list[str] = []
    thread = threading.Thread(target=lambda: granted.append(request_priority().detail))
    thread.start()
    thread.join()
    table.notes.append(f"capture thread: {granted[0].split(';')[0]}; ratio of p99")
    return table


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "", seconds=3.0, rounds=3)
    parser.add_argument("--length", type=float, default=10.0, help="of whole runs, in s")
    parser.add_argument("--long", type=float, default=60.0, help="of the run with a target, in s")
    parser.add_argument("--codec", default="", help="only runs with this codec")
    parser.add_argument("--dir", help="where whole runs record (the system's temporary folder)")
    parser.add_argument("--only", choices="efg", default="", help="only this table")
    options = parser.parse_args()
    multiprocessing.set_start_method("fork", force=True)
    tables = {"e": cpu_table, "f": run_table, "g": stamp_table}
    chosen = [tables[options.only]] if options.only else tables.values()
    publish([table(options) for table in chosen], options.json)


if __name__ == "__main__":
    main()
