"""The capture thread and `camera-generic`, on a backend with scripted grabs."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from dataclasses import replace
from importlib.metadata import EntryPoint

import msgspec
import numpy as np
import pytest

from mlink import check_bench
from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint
from mlink.errors import BenchError, DeviceError, StreamError
from mlink.metadata import MetaSize
from mlink.types import DataType
from mlink.waiting import ServiceLoop
from mlink_drivers.camera import capture as capture_module
from mlink_drivers.camera import module as camera_module
from mlink_drivers.camera.backend import (
    Answer,
    CameraInfo,
    NoFrame,
    Stamp,
    make_backend,
    scheme_of,
)
from mlink_drivers.camera.capture import CaptureThread
from mlink_drivers.camera.catalog import CameraSettings, camera_generic
from mlink_drivers.camera.module import CameraModule
from mlink_drivers.camera.triggers.triggered import FrameTrigger
from mlink_drivers.trigger import EdgeRow, Strobe
from tests.support.fake_context import FakeContext, FakeInput, FakeOutput

PERIOD_NS = 10_000_000  # 100 frames per second
SHAPE = (4, 6, 3)


class ScriptedCamera:
    """Grabs by a script, in which numbers are frame times in periods after the start.

    After the script it is silent, or, as a finite source, at its end.
    """

    def __init__(self, script, *, damaged=(), then=NoFrame.TIMEOUT, answers=()):
        self.script = list(script)
        self.damaged = set(damaged)
        self.then = then
        self.info = CameraInfo(
            SHAPE, np.dtype(np.uint8), 1e9 / PERIOD_NS, "test", 7, answers=answers
        )
        self.played_out = threading.Event()
        self.closed = 0
        self.threads = set()

    def open(self, address, request):
        self.address, self.request = address, request
        return self.info

    def start(self):
        self.start_ns = time.monotonic_ns() + 1_000_000

    def grab(self):
        self.threads.add(threading.current_thread().name)
        if not self.script:
            self.played_out.set()
            time.sleep(0.001)
            return self.then
        item = self.script.pop(0)
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, NoFrame | Stamp):
            return item
        self.current = item
        return Stamp(self.start_ns + round(item * PERIOD_NS))

    def retrieve(self, into):
        if self.current in self.damaged:
            return False
        into[...] = int(self.current) % 256
        return True

    def close(self):
        self.closed += 1


class CaptureRun:
    """A capture thread on a scripted camera, run until the script is played out."""

    def __init__(self, camera, output=None, waiting=None, **options):
        self.camera = camera
        self.output = output or FakeOutput("video", DataType.Frame)
        self.failures = []
        self.failed = threading.Event()
        self.ended = threading.Event()
        waiting = waiting or ServiceLoop("capture")  # for the time alone: it starts no thread
        self.capture = CaptureThread(
            camera,
            camera.info,
            self.output,
            MasterClock(waiting.now_ns()),
            logging.getLogger("mlink.test.capture"),
            waiting,
            fail=self._fail,
            ended=self.ended.set,
            **options,
        )

    def _fail(self, error):
        self.failures.append(error)
        self.failed.set()

    def play(self):
        self.capture.start()
        assert self.camera.played_out.wait(60)
        assert self.capture.stop()
        assert not self.failures
        counts = self.capture.counts
        # What the camera counts as gone is a gap in its stream: subscribers and datasets have it.
        assert self.output.lost == counts.lost + counts.damaged + counts.unsent
        return counts


def test_each_frame_is_sent_with_its_time_its_number_and_its_pixels():
    run = CaptureRun(ScriptedCamera([0, 1, 2, 3]))
    counts = run.play()
    frames = run.output.items
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    times = [frame.time_usec for frame in frames]
    assert np.diff(times).tolist() == [PERIOD_NS // 1000] * 3
    assert [int(frame.view[0, 0, 0]) for frame in frames] == [0, 1, 2, 3]
    assert frames[0].view.shape == SHAPE
    assert counts.sent == 4
    assert counts.lost == 0
    assert run.capture.framerate == pytest.approx(100)


def test_the_capture_thread_has_a_name_and_reports_its_priority():
    run = CaptureRun(ScriptedCamera([0]))
    run.play()
    assert run.camera.threads == {"capture"}
    assert run.capture.granted is not None
    assert run.capture.granted.detail


def test_frames_of_the_time_before_the_start_are_not_sent():
    old = [Stamp(time.monotonic_ns() - n * PERIOD_NS) for n in (900, 899)]
    run = CaptureRun(ScriptedCamera([*old, 0, 1]))
    counts = run.play()
    assert [frame.index for frame in run.output.items] == [0, 1]
    assert counts.stale == 2


def test_times_increase_strictly_or_the_frame_is_counted_and_dropped(caplog):
    run = CaptureRun(ScriptedCamera([0, 1, 1, 0.5, 2]))
    counts = run.play()
    times = [frame.time_usec for frame in run.output.items]
    assert len(times) == 3
    assert times == sorted(set(times))
    assert counts.disordered == 2
    assert len(caplog.records) == 1


def test_lost_frames_are_found_from_the_times():
    run = CaptureRun(ScriptedCamera([0, 1, 4, 5.2, 6]))
    assert run.play().lost == 2


def test_lost_frames_are_found_from_the_numbers_of_a_source_that_counts():
    start = time.monotonic_ns() + 10**9
    script = [Stamp(start + n * 1000, n) for n in (0, 1, 5, 6)]
    camera = ScriptedCamera(script)
    camera.current = 0
    run = CaptureRun(camera)
    assert run.play().lost == 3
    assert [frame.index for frame in run.output.items] == [0, 1, 5, 6]


def test_a_source_that_counts_anew_loses_nothing():
    start = time.monotonic_ns() + 10**9
    camera = ScriptedCamera([Stamp(start + i * 1000, n) for i, n in enumerate((0, 1, 0, 1, 3))])
    camera.current = 0
    run = CaptureRun(camera)
    assert run.play().lost == 1
    assert [frame.index for frame in run.output.items] == [0, 1, 2, 3, 5]


@pytest.mark.parametrize(
    ("complete", "lost", "inferred"), [(True, 2, 0), (False, 2 + 4, 4)]
)  # fmt: skip
def test_intervals_show_what_incomplete_numbers_do_not(complete, lost, inferred):
    start = time.monotonic_ns() + 10**9
    # two frames that the numbers skip, and later four that they do not
    numbers = [*range(10), *range(12, 40)]
    periods = [*range(10), *range(12, 24), *range(28, 44)]
    camera = ScriptedCamera(
        [Stamp(start + p * PERIOD_NS, n) for p, n in zip(periods, numbers, strict=True)]
    )
    camera.info = replace(camera.info, numbers_complete=complete)
    camera.current = 0
    run = CaptureRun(camera)
    counts = run.play()
    assert (counts.lost, counts.inferred) == (lost, inferred)
    assert [frame.index for frame in run.output.items] == numbers


@pytest.mark.parametrize("periods_apart", [1, 1.9, 2])
def test_numbers_that_explain_all_intervals_leave_nothing_to_infer(periods_apart):
    start = time.monotonic_ns() + 10**9
    # every second number is skipped, at up to twice the nominal rate, with some jitter
    stamps = [
        Stamp(start + round(n * periods_apart * PERIOD_NS) + n % 3 * 1000, 2 * n) for n in range(40)
    ]
    camera = ScriptedCamera(stamps)
    camera.info = replace(camera.info, numbers_complete=False)
    camera.current = 0
    run = CaptureRun(camera)
    counts = run.play()
    assert (counts.sent, counts.lost, counts.inferred) == (40, 39, 0)


def test_a_gap_is_before_the_frame_that_shows_it():
    output = OrderedOutput("video", DataType.Frame)
    start = time.monotonic_ns() + 10**9
    camera = ScriptedCamera([Stamp(start + n * 1000, n) for n in (0, 1, 5, 6)])
    camera.current = 0
    CaptureRun(camera, output).play()
    assert output.seen_lost == [0, 0, 3, 3]


class OrderedOutput(FakeOutput):
    """Keeps how many items were lost before each loan."""

    def __init__(self, id, data_type):
        super().__init__(id, data_type)
        self.seen_lost = []

    def loan_frame(self, shape, dtype=np.uint8):
        self.seen_lost.append(self.lost)
        return super().loan_frame(shape, dtype)


def test_a_damaged_or_repeated_frame_is_counted_and_capturing_goes_on(caplog):
    run = CaptureRun(ScriptedCamera([0, 1, NoFrame.REPEATED, 2, NoFrame.TIMEOUT, 3], damaged=[1]))
    counts = run.play()
    assert [frame.index for frame in run.output.items] == [0, 2, 3]  # the gap shows
    assert (counts.damaged, counts.repeated) == (1, 1)
    assert "damaged" in caplog.text


def test_frames_without_a_time_of_their_own_are_counted():
    start = time.monotonic_ns() + 10**9
    camera = ScriptedCamera([Stamp(start), Stamp(start + PERIOD_NS, estimated=True)])
    camera.current = 0
    run = CaptureRun(camera)
    assert run.play().estimated == 1
    assert len(run.output.items) == 2


class FullOutput(FakeOutput):
    """Has no memory for the frames of these loans."""

    def __init__(self, full):
        super().__init__("video", DataType.Frame)
        self.full = set(full)
        self.loans = 0

    def loan_frame(self, shape, dtype=np.uint8):
        self.loans += 1
        if self.loans in self.full:
            raise StreamError("no memory is free")
        return super().loan_frame(shape, dtype)


def test_without_free_memory_a_frame_is_counted_and_capturing_goes_on(caplog):
    run = CaptureRun(ScriptedCamera([0, 1, 2, 3]), FullOutput({2, 3}))
    counts = run.play()
    assert [frame.index for frame in run.output.items] == [0, 3]
    assert (counts.sent, counts.unsent) == (2, 2)
    assert len(caplog.records) == 1
    assert "no memory is free" in caplog.text


# --- silence -----------------------------------------------------------------------------------


class SteppedTime:
    """A `Waiting` for the time alone: it moves only when a test moves it."""

    is_virtual = False

    def __init__(self):
        self.time_ns = time.monotonic_ns()

    def now_ns(self):
        return self.time_ns


class SteppedCamera(ScriptedCamera):
    """Each grab takes one frame period of stepped time; `kinds` names what it brings."""

    def __init__(self, clock, kinds):
        super().__init__([])
        self.clock = clock
        self.kinds = iter(kinds)
        self.damaged_now = False

    def start(self):
        self.begun_ns = self.last_ns = self.clock.time_ns

    def grab(self):
        kind = next(self.kinds, NoFrame.END)
        self.clock.time_ns += PERIOD_NS
        if isinstance(kind, NoFrame):
            return kind
        if kind == "stale":
            return Stamp(self.begun_ns - 1)
        if kind == "disordered":
            return Stamp(self.last_ns)
        self.damaged_now = kind == "damaged"
        self.last_ns = self.clock.time_ns
        return Stamp(self.last_ns)

    def retrieve(self, into):
        return not self.damaged_now


@pytest.fixture
def capture_kinds(monkeypatch):
    """Run a capture over these kinds of grabs, in stepped time, until it fails or they end."""

    def capture(kinds, output=None, **options):
        clock = SteppedTime()
        monkeypatch.setattr(capture_module, "_RETRY_PAUSE_SEC", 0)
        run = CaptureRun(SteppedCamera(clock, kinds), output, clock, **options)
        run.capture.start()
        run.capture._thread.join(20)
        assert not run.capture._thread.is_alive()
        return run

    return capture


ABSENCES = ["damaged", "stale", "disordered", NoFrame.TIMEOUT, NoFrame.REPEATED]
LIMIT_FRAMES = 200
"""Frame periods in the 2 s of silence that are allowed."""


@pytest.mark.parametrize("kind", ABSENCES)
def test_a_camera_without_a_good_frame_for_two_seconds_has_failed(capture_kinds, kind):
    run = capture_kinds(["good", "good", *[kind] * 1000])
    (error,) = run.failures
    assert isinstance(error, DeviceError)
    assert error.remedy
    name = {NoFrame.TIMEOUT: "timeouts", NoFrame.REPEATED: "repeated"}.get(kind, kind)
    count = LIMIT_FRAMES + 1  # the first that is later than the limit
    assert getattr(run.capture.counts, name) == count
    assert error.message.startswith("no frame for 2.0 s after 2 frames")
    assert f"{count} {name}" in error.message


@pytest.mark.parametrize("kind", ABSENCES)
def test_a_good_frame_ends_a_silence(capture_kinds, kind):
    silence = [kind] * LIMIT_FRAMES
    run = capture_kinds(["good", *silence, "good", *silence, "good"])
    assert not run.failures
    assert run.capture.counts.sent == 3


def test_a_camera_that_sends_nothing_from_its_start_fails_after_the_limit(capture_kinds):
    run = capture_kinds([NoFrame.TIMEOUT] * 1000, silence_limit_nsec=5 * PERIOD_NS)
    assert run.capture.counts.timeouts == 6
    assert run.failures


def test_frames_that_find_no_memory_are_no_silence_of_the_camera(capture_kinds):
    count = LIMIT_FRAMES + 100
    run = capture_kinds(["good"] * count + [NoFrame.TIMEOUT], FullOutput(range(count + 1)))
    assert not run.failures
    assert run.capture.counts.unsent == count


def test_a_slow_source_that_is_well_is_not_silent(capture_kinds):
    well = [NoFrame.NOT_YET] * (LIMIT_FRAMES + 100)
    run = capture_kinds(["good", *well, NoFrame.TIMEOUT])
    assert not run.failures
    assert run.ended.is_set()


@pytest.mark.parametrize("error", [DeviceError("unplugged"), ValueError("a bug of a backend")])
def test_an_error_of_the_backend_is_reported(error):
    run = CaptureRun(ScriptedCamera([0, error]))
    run.capture.start()
    assert run.failed.wait(60)
    assert run.capture.stop()
    assert run.failures == [error]


def test_a_finite_source_ends_without_failure():
    run = CaptureRun(ScriptedCamera([0, 1], then=NoFrame.END))
    run.capture.start()
    assert run.ended.wait(60)
    assert run.capture.stop()
    assert len(run.output.items) == 2
    assert not run.failures


# --- the module ------------------------------------------------------------------------------


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    made = []

    def make(camera, **settings):
        monkeypatch.setattr(camera_module, "make_backend", lambda address: camera)
        context = FakeContext(
            camera_generic,
            CameraSettings(**settings),
            tmp_path,
            device=DeviceEndpoint(name="eye", spec="test:", address="test:1"),
            clock=MasterClock(),
        )
        module = CameraModule(context)
        made.append(module)
        return module, context

    yield make
    for module in made:
        module.close()


def start(module, context):
    module.prepare()
    context.clock.t0_monotonic_ns = time.monotonic_ns()
    module.start()


def test_the_metadata_describes_what_the_camera_delivers(make_module):
    module, context = make_module(ScriptedCamera([]), size=(6, 4), framerate=90)
    module.prepare()
    assert context.outputs["video"].metadata == {
        "size": MetaSize(6, 4),
        "framerate": 100.0,
        "has_color": True,
        "timestamp_source": "test",
        "uncertainty_usec": 7,
    }


def test_the_request_carries_the_settings_and_the_bench_folder(make_module, tmp_path):
    camera = ScriptedCamera([])
    module, _ = make_module(camera, size=(320, 240), framerate=15, pixel_format="MJPG", loop=True)
    module.prepare()
    request = camera.request
    assert camera.address == "test:1"
    assert (request.size, request.framerate, request.pixel_format) == ((320, 240), 15, "MJPG")
    assert request.loop
    assert request.base_dir == tmp_path


def test_a_module_sends_frames_between_start_and_halt_and_reports(make_module):
    camera = ScriptedCamera([0, 1, 3, 4])
    module, context = make_module(camera)
    start(module, context)
    assert not gc.isenabled()
    assert camera.played_out.wait(60)
    module.halt()
    sent = len(context.outputs["video"].items)
    assert sent == 4
    assert context.reports["frames"] == 4
    assert context.reports["lost"] == 1
    assert context.reports["framerate_measured"] == pytest.approx(75)
    assert context.reports["priority"]
    module.close()
    assert gc.isenabled()
    assert camera.closed
    assert len(context.outputs["video"].items) == sent


def test_a_different_size_is_a_warning_with_asked_and_got(make_module, caplog):
    difference = Answer("size", "640×480", "640×360")
    module, _ = make_module(ScriptedCamera([], answers=(difference,)))
    module.prepare()
    assert "size: asked 640×480, got 640×360" in caplog.text


def test_a_different_size_is_an_error_when_strict(make_module):
    difference = Answer("size", "640×480", "640×360")
    module, _ = make_module(ScriptedCamera([], answers=(difference,)), strict=True)
    with pytest.raises(DeviceError, match="asked 640×480, got 640×360"):
        module.prepare()


@pytest.mark.parametrize(("policy", "running"), [("stop", False), ("idle", True)])
def test_the_end_of_a_source_ends_the_run_or_leaves_it_idle(make_module, policy, running):
    camera = ScriptedCamera([0], then=NoFrame.END)
    module, context = make_module(camera, end_of_source=policy)
    start(module, context)
    assert camera.played_out.wait(60)
    module.halt()
    assert context.running is running
    assert not context.failures


def test_a_failure_in_the_thread_fails_the_module(make_module):
    module, context = make_module(ScriptedCamera([0, DeviceError("unplugged")]))
    start(module, context)
    assert context.failed.wait(60)
    module.halt()
    assert str(context.failures[0]) == "unplugged"


def test_the_rate_is_shown_while_the_run_lasts(make_module, monkeypatch):
    camera = ScriptedCamera([0, 1, 2])
    module, context = make_module(camera)
    start(module, context)
    assert camera.played_out.wait(60)
    monkeypatch.setattr(context, "serve", lambda timeout_usec: context.request_stop("enough"))
    module.run()
    assert context.status == "100.0 fps"


def test_a_camera_slower_than_it_announced_is_reported_once(make_module, caplog):
    camera = ScriptedCamera(range(0, 500, 2))
    module, context = make_module(camera)
    start(module, context)
    assert camera.played_out.wait(60)
    module._show()
    module._show()
    slow = [record for record in caplog.records if "frames per second" in record.message]
    assert len(slow) == 1
    assert "50 frames per second, not 100 " in slow[0].message


def test_without_a_device_the_camera_number_is_used_or_an_error_raised(tmp_path):
    context = FakeContext(camera_generic, CameraSettings(), tmp_path)
    with pytest.raises(BenchError, match="has no camera"):
        CameraModule(context).prepare()
    context = FakeContext(camera_generic, CameraSettings(camera=93), tmp_path)
    with pytest.raises(DeviceError, match="there is no camera /dev/video93"):
        CameraModule(context).prepare()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"size": [0, 480]}, "size"),
        ({"framerate": 0}, "framerate"),
        ({"pixel_format": "RGB\n"}, "pixel_format"),
        ({"features": {"Width": [1]}}, "features"),
        ({"end_of_source": "explode"}, "end_of_source"),
        ({"frame_rate": 30}, "frame_rate"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(table, reason):
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert(table, CameraSettings)


# --- finding backends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "scheme"),
    [
        ("/dev/video0", "v4l2"),
        ("/dev/v4l/by-id/usb-046d_0825-video-index0", "v4l2"),
        ("file:clip.mkv", "file"),
        ("virtual:scene", "scene"),
        ("virtual:scene?seed=1", "scene"),
        ("basler:12345", "basler"),
    ],
)
def test_an_address_names_its_backend(address, scheme):
    assert scheme_of(address) == scheme


def test_a_third_partys_backend_is_found_by_its_entry_point():
    point = EntryPoint("basler", f"{__name__}:ThirdParty", "mlink.cameras")
    backend = make_backend("basler:1", lambda: (point,))
    assert type(backend).__name__ == "ThirdParty"


class ThirdParty(ScriptedCamera):
    def __init__(self):
        super().__init__([])


def checked(tmp_path, device, **settings):
    """Return what `mlink check` finds wrong with a camera, as (what, remedy)."""
    path = tmp_path / "bench.toml"
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    given = f"device = {json.dumps(device)}\n" if device else ""
    path.write_text(f'[modules.cam]\ntype = "camera-generic"\n{given}{lines}')
    return [(problem.what, problem.remedy) for problem in check_bench(path)]


@pytest.mark.parametrize("device", ["gst:videotestsrc", "csi:0", "srt://10.0.0.2:9000"])
def test_a_device_word_that_no_backend_opens_is_refused_by_check(tmp_path, device):
    ((what, remedy),) = checked(tmp_path, device)
    assert what.startswith(f"no camera backend opens '{device}'")
    for scheme in ("v4l2", "file", "images", "rtsp", "genicam"):
        assert scheme in remedy


@pytest.mark.parametrize(
    ("device", "what"),
    [
        ("usb:", "'usb:' is not the name of a USB camera"),
        ("usb:zzz", "'usb:zzz' is not the name of a USB camera"),
        ("usb:046d", "'usb:046d' is not the name of a USB camera"),
        ("v4l2:/dev/video0", "'v4l2:/dev/video0' is not the address of a camera"),
        ("file:", "'file:' names no file"),
        ("images:?x=1", "'images:?x=1' names no folder"),
        ("rtsp:", "'rtsp:' names no host"),
        ("https:///path", "'https:///path' names no host"),
    ],
)
def test_a_device_word_that_can_be_no_camera_is_refused_by_check(tmp_path, device, what):
    ((found, remedy),) = checked(tmp_path, device)
    assert found == what
    assert remedy.startswith("Write ")


@pytest.mark.parametrize(
    "device",
    ["/dev/video0", "usb:046d:0825", "usb:serial=A1", "usb:path=1-2.3", "file:a.mkv",
     "virtual:scene?seed=1", "rtsp://u:p@cam/1", "genicam:vendor=Basler"],
)  # fmt: skip
def test_a_device_word_with_a_backend_passes_the_check(tmp_path, device):
    assert not checked(tmp_path, device)


def test_check_shows_no_password_of_an_address_that_it_refuses(tmp_path):
    ((what, _),) = checked(tmp_path, "srt://me:secret@cam/1")
    assert "secret" not in what


def test_a_pixel_format_has_four_characters_for_v4l2_alone(tmp_path):
    ((what, remedy),) = checked(tmp_path, "/dev/video0", pixel_format="Mono12Packed")
    assert what == "pixel_format: 'Mono12Packed' is no V4L2 format, which has 4 characters"
    assert "MJPG" in remedy
    ((what, _),) = checked(tmp_path, "", camera=3, pixel_format="RGB")
    assert "4 characters" in what
    assert not checked(tmp_path, "genicam:serial=1", pixel_format="Mono12Packed")


def test_an_unknown_scheme_lists_those_installed_and_the_nearest():
    with pytest.raises(DeviceError) as caught:
        make_backend("fille:clip.mkv")
    assert "Did you mean 'file'?" in caught.value.remedy
    assert "v4l2" in caught.value.remedy


def test_a_backend_that_cannot_be_imported_is_named():
    point = EntryPoint("broken", "no_such_package:Camera", "mlink.cameras")
    with pytest.raises(DeviceError, match="no_such_package:Camera"):
        make_backend("broken:1", lambda: (point,))


def test_a_bare_path_is_no_address():
    with pytest.raises(DeviceError, match="is not the address of a camera"):
        scheme_of("clip.mkv")


# --- triggers ----------------------------------------------------------------------------------


def test_edges_that_are_known_to_be_lost_at_the_end_have_a_row_and_none_follows():
    edges, answers = FakeInput("edges", DataType.TableRow), FakeOutput("t", DataType.TableRow)
    trigger = FrameTrigger(
        Strobe(board="board", line=2, delay_usec=0),
        {"edges": edges}, answers, MasterClock(0), logging.getLogger("mlink.test"), "cam",
    )  # fmt: skip
    trigger.begin()
    for number in range(5):
        edges.on_item(EdgeRow(number * 10_000, 2, "edge").cells())
    for number in range(8):  # the last three edges are never reported
        trigger.take(number * 10_000_000, number)
    trigger.flush()
    trigger.finish()
    events = [row[1] for row in answers.items]
    assert events[-2:] == ["edge-missing", "end"]
    sent = len(answers.items)
    trigger.flush()  # at the close, when the stream has ended
    assert len(answers.items) == sent
    assert "3 frame(s) of cam have no edge" in trigger.losses()[0][0]
