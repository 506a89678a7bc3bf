"""GenICam cameras: pixel formats, numbers and times, device words, and Aravis' fake camera."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time

import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.catalog import CameraSettings, what_is_wrong
from mlink_drivers.camera.genicam import finding, library
from mlink_drivers.camera.genicam.camera import GenicamCamera, list_modes
from mlink_drivers.camera.genicam.finding import Camera, conditions, find, list_devices
from mlink_drivers.camera.genicam.pixels import pixel_format, readable, reader
from mlink_drivers.camera.genicam.times import FrameTimes
from tests.support.cameras.genicam_cameras import FakeGenicam, own_network, why_missing

# --- pixel formats -----------------------------------------------------------------------------


def packed_by_definition(values, bits, packing):
    """Return the bytes of values, as the standards define them, bit by bit."""
    if packing == "Packed":  # GigE Vision: the high 8 bits, the low ones of both, the high 8 bits
        low = (1 << (bits - 8)) - 1
        found = []
        for first, second in zip(values[::2], values[1::2], strict=True):
            found += [first >> bits - 8, first & low | (second & low) << 4, second >> bits - 8]
        return bytes(found)
    total = sum(int(value) << (index * bits) for index, value in enumerate(values))
    return total.to_bytes(-(-len(values) * bits // 8), "little")


@pytest.mark.parametrize(
    ("name", "bits", "packing"),
    [
        ("Mono10p", 10, "p"),
        ("Mono12p", 12, "p"),
        ("Mono14p", 14, "p"),
        ("Mono10Packed", 10, "Packed"),
        ("Mono12Packed", 12, "Packed"),
    ],
)
@pytest.mark.parametrize("size", [(8, 3), (6, 5), (2, 1)])
def test_packed_grey_has_the_camera_s_values(name, bits, packing, size):
    values = np.random.default_rng(1).integers(0, 1 << bits, size[0] * size[1]).tolist()
    data = np.frombuffer(packed_by_definition(values, bits, packing), np.uint8)
    form = pixel_format(name)
    into = np.zeros(form.shape(*size), form.dtype)
    reader(form, *size)(data, 0, into)
    assert into.dtype == np.uint16
    assert into.reshape(-1).tolist() == values
    assert form.used_bits == bits
    assert form.bits_per_pixel == (12 if packing == "Packed" else bits)


@pytest.mark.parametrize("name", ["Mono8", "Mono10", "Mono12", "Mono16"])
def test_grey_in_whole_bytes_stays_as_it_is_without_the_padding_of_rows(name):
    form = pixel_format(name)
    picture = np.arange(12, dtype=form.dtype.newbyteorder("<")).reshape(3, 4) + 200
    rows = picture.view(np.uint8).reshape(3, -1)
    padded = np.hstack((rows, np.full((3, 5), 0xEE, np.uint8))).reshape(-1)
    into = np.zeros((3, 4), form.dtype)
    reader(form, 4, 3)(padded, 5, into)
    assert (into == picture).all()


MOSAICS = {"RG": ("RG", "GB"), "GR": ("GR", "BG"), "GB": ("GB", "RG"), "BG": ("BG", "GR")}
BGR = {"B": 10, "G": 120, "R": 230}


@pytest.mark.parametrize("mosaic", MOSAICS)
@pytest.mark.parametrize("depth", ["8", "12", "16", "10p", "12Packed"])
def test_bayer_becomes_bgr_scaled_to_8_or_16_bits(mosaic, depth):
    form = pixel_format(f"Bayer{mosaic}{depth}")
    scale = 1 if form.bits == 8 else 4
    tile = [[BGR[colour] * scale for colour in row] for row in MOSAICS[mosaic]]
    picture = np.tile(np.array(tile, form.dtype), (4, 4))
    data = picture.view(np.uint8).reshape(-1)
    if form.packing:
        values = picture.reshape(-1).tolist()
        data = np.frombuffer(packed_by_definition(values, form.bits, form.packing), np.uint8)
    into = np.zeros(form.shape(8, 8), form.dtype)
    reader(form, 8, 8)(data, 0, into)
    scale <<= 16 - form.bits if form.bits > 8 else 0
    assert into.reshape(-1, 3).tolist() == [[scale * BGR[colour] for colour in "BGR"]] * 64


def test_bayer_stays_a_mosaic_where_it_is_not_to_be_converted():
    form = pixel_format("BayerRG8", convert=False)
    assert form.shape(4, 2) == (2, 4)
    picture = np.arange(8, dtype=np.uint8)
    into = np.zeros((2, 4), np.uint8)
    reader(form, 4, 2)(picture, 0, into)
    assert (into.reshape(-1) == picture).all()


@pytest.mark.parametrize(
    ("name", "memory", "expected"),
    [
        ("RGB8", [1, 2, 3], [3, 2, 1]),
        ("RGB8Packed", [1, 2, 3], [3, 2, 1]),
        ("BGR8", [1, 2, 3], [1, 2, 3]),
        ("BGR8Packed", [1, 2, 3], [1, 2, 3]),
        ("RGBa8", [1, 2, 3, 4], [3, 2, 1, 4]),
        ("BGRa8", [1, 2, 3, 4], [1, 2, 3, 4]),
        ("RGB12", [1, 0, 2, 0, 3, 8], [2051 << 4, 2 << 4, 1 << 4]),
        ("BGR16", [1, 0, 2, 0, 3, 8], [1, 2, 2051]),
        ("YUV422_8", [255, 128, 255, 128], [255, 255, 255]),
        ("YUV422_8_UYVY", [128, 255, 128, 255], [255, 255, 255]),
    ],
)
def test_colours_become_bgr(name, memory, expected):
    form = pixel_format(name)
    data = np.array(memory * 4, np.uint8)
    width = 8 * len(data) // form.bits_per_pixel // 2
    into = np.zeros(form.shape(width, 2), form.dtype)
    reader(form, width, 2)(data, 0, into)
    assert into[0, 0].tolist() == expected


@pytest.mark.parametrize(
    "name", ["Mono8s", "Mono1p", "Coord3D_ABC32f", "YUV411_8", "", "Mono16p", "BayerXX8", "JPEG"]
)
def test_a_format_that_cannot_be_read_names_those_that_can(name):
    with pytest.raises(DeviceError) as caught:
        readable(name, 0, [name, "Mono8", "Confidence8", "BayerRG12p"], "genicam:serial=1")
    assert name in caught.value.message
    assert caught.value.remedy == "Set pixel_format, for example to Mono8, BayerRG12p."


def test_a_format_whose_pixels_have_other_bits_than_its_name_is_not_guessed():
    with pytest.raises(DeviceError, match="Mono10Packed"):
        readable("Mono10Packed", 0x010A0046, [], "the camera")


# --- numbers and times -------------------------------------------------------------------------


def test_numbers_go_on_where_a_counter_of_16_bits_begins_again():
    times = FrameTimes("cam", 100.0)
    raw = [65533, 65534, 65535, 1, 2, 5, 6]
    stamps = [times.stamp(1000 * (n + 1), it, 0, 0) for n, it in enumerate(raw)]
    assert [stamp.number for stamp in stamps] == [*range(65533, 65538), 65540, 65541]
    assert all(stamp.estimated for stamp in stamps)


def test_times_follow_the_camera_s_clock_and_not_the_jitter_of_the_arrival():
    times = FrameTimes("cam", 100.0)
    jitter = np.random.default_rng(2).exponential(2e6, 1000)
    begun = time.monotonic_ns() - 20_000_000_000
    errors = []
    for n in range(1000):
        taken = begun + n * 10_000_000
        device = 77_000_000_000 + round(n * 10_000_000 * (1 + 50e-6))
        got = times.stamp(taken + round(jitter[n]), n + 1, 0, device)
        errors.append(got.time_ns - taken)
    late = np.array(errors[400:])
    assert np.ptp(late) < 600_000  # arrivals jitter by 2 ms and more
    assert 0 < late.mean() < 4_000_000


def test_a_damaged_frame_does_not_keep_the_next_one_from_being_later():
    times = FrameTimes("cam", 100.0)
    first = times.stamp(10_000_000_000, 1, 0, 0)
    bad = times.damaged(10_030_000_000, 2)
    good = times.stamp(10_020_000_000, 3, 0, 0)
    assert first.time_ns < bad.time_ns < good.time_ns == 10_020_000_000
    assert [first.number, bad.number, good.number] == [1, 2, 3]


@pytest.mark.parametrize("stale", [0, 65400, 65530])
def test_a_damaged_frame_without_its_number_is_the_next_one(stale):
    times = FrameTimes("cam", 100.0)
    raws = [65532, 65533, None, None, 1, None, 3, 6, None, 8]
    now, found = 10_000_000_000, []
    for raw in raws:
        now += 10_000_000
        stamp = times.damaged(now, stale) if raw is None else times.stamp(now, raw, 0, 0)
        found.append(stamp.number - 65532)
    assert found == [0, 1, 2, 3, 4, 5, 6, 9, 10, 11]


def test_a_counter_that_begins_anew_loses_nothing():
    times = FrameTimes("cam", 100.0)
    raws = [100, 101, 1, 2, 4]
    numbers = [times.stamp(1000 * n, raw, 0, 0).number for n, raw in enumerate(raws, 1)]
    assert numbers == [100, 101, 102, 103, 105]


def test_a_run_that_begins_with_a_damaged_frame():
    times = FrameTimes("cam", 100.0)
    numbers = [times.damaged(1 << 40, 0).number, times.stamp(2 << 40, 65402, 0, 0).number]
    assert numbers == [0, 1]


# --- device words ------------------------------------------------------------------------------

TWO = [
    Camera("B-ace-1", "Basler, Inc", "ace 100%", "1", "10.0.0.1", "GigEVision"),
    Camera("B-ace-2", "Basler, Inc", "ace 100%", "2", "10.0.0.2", "GigEVision"),
    Camera("T-x-2", "Tis", "x", "2", "USB3", "USB3Vision"),
    Camera("T-x-", "Tis", "x", "", "USB4", "USB3Vision"),
]


@pytest.fixture
def cameras(monkeypatch):
    monkeypatch.setattr(finding, "present", lambda library: TWO)


def test_each_word_of_a_camera_finds_it_again(cameras):
    for camera in TWO:
        word = camera.identity(TWO)
        assert find(None, word) == (camera.id, word)
        assert find(None, camera.word("id"))[0] == camera.id
    assert TWO[0].identity(TWO) == "genicam:serial=1"
    assert TWO[1].identity(TWO) == "genicam:vendor=Basler%2C Inc,model=ace 100%25,serial=2"
    assert TWO[3].identity(TWO) == "genicam:id=T-x-"


def test_a_word_that_means_several_or_none_lists_the_cameras(cameras):
    with pytest.raises(DeviceError, match=r"means 2 cameras: .*serial=1.*; .*serial=2"):
        find(None, "genicam:vendor=Basler%2C Inc")
    with pytest.raises(DeviceError, match=r"no GenICam camera .*there are: Basler, Inc ace"):
        find(None, "genicam:serial=nix")
    assert find(None, "genicam:address=10.9.9.9") == ("10.9.9.9", "genicam:address=10.9.9.9")


@pytest.mark.parametrize("word", ["genicam:GV01", "genicam:colour=red", "genicam:serial="])
def test_a_malformed_word_shows_how_to_write_it(word):
    with pytest.raises(DeviceError) as caught:
        conditions(word)
    assert "genicam:serial=…" in caught.value.remedy


def test_check_refuses_a_malformed_word():
    what, remedy = what_is_wrong(CameraSettings(), "genicam:GV01")
    assert "'GV01' is no condition" in what
    assert "genicam:serial=…" in remedy


def test_without_aravis_one_line_names_the_package(monkeypatch):
    monkeypatch.setattr(library, "_LIBRARY", "libaravis-0.0.so.99")
    library.aravis.cache_clear()
    try:
        for call in (list_devices, lambda: GenicamCamera().open("genicam:", CameraRequest())):
            with pytest.raises(DeviceError) as caught:
                call()
            assert caught.value.message.startswith("GenICam cameras need Aravis")
            assert caught.value.remedy == "Install it: sudo apt-get install libaravis-0.8-0"
    finally:
        library.aravis.cache_clear()


# --- the fake camera ---------------------------------------------------------------------------


@pytest.fixture
def fake():
    if reason := why_missing():
        pytest.skip(reason)
    with own_network(), FakeGenicam("GV07") as camera:
        yield camera


@pytest.fixture
def opened(fake):
    cameras = []

    def opened(**request):
        cameras.append(GenicamCamera())
        return cameras[-1], cameras[-1].open(fake.url, CameraRequest(**request))

    yield opened
    for camera in cameras:
        camera.close()


def frames(camera, count):
    """Return the next stamps; a busy machine gets a minute without one."""
    found = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        grabbed = camera.grab()
        if isinstance(grabbed, Stamp):
            found.append(grabbed)
            deadline = time.monotonic() + 60
        assert time.monotonic() < deadline, grabbed
    return found


def test_it_is_listed_with_lasting_words(fake):
    (found,) = list_devices()
    assert (found.kind, found.address) == ("camera", "genicam:serial=GV07")
    assert found.name == "Aravis Fake (GigEVision, 127.0.0.1)"
    assert found.identity == ["genicam:vendor=Aravis,model=Fake", "genicam:id=Aravis-Fake-GV07"]
    modes = list_modes(found.address)
    assert "Mono16" in modes[0]
    assert "sizes: 1×1 to 2048×2048" in modes
    assert "trigger sources: Line0, Software" in modes


def test_settings_are_read_back_and_wrong_ones_answered_with_type_and_range(opened):
    wishes = {
        "exposure": 5000,
        "gain": "auto",
        "GainRaw": 2.5,
        "ExposureTimeAbs": 1e12,
        "TestBoolean": 1,
        "PixelFormat": "Mono99",
        "TriggerSoftware": "now",
        "GainRaww": 1,
        "DeviceVendorName": "me",
        "TriggerActivation[TriggerSelector=FrameStart]": "RisingEdge",
        "TriggerMode[TriggerSelector=Nix]": "On",
        "a[": 1,
        "AcquisitionStart": True,
        "AcquisitionFrameRate": float("nan"),
    }
    request = {"size": (320, 200), "size_given": True, "framerate": 40, "framerate_given": True}
    _, info = opened(pixel_format="BayerRG8", controls=wishes, **request)
    got = {answer.setting: (answer.got, answer.same) for answer in info.answers}
    assert got == {
        "pixel_format": ("BayerRG8", True),
        "size": ("320×200", True),
        "framerate": ("40", True),
        "exposure": ("5000 µs", True),
        "gain": ("auto", True),
        "GainRaw": ("a whole number from 0 to 10 is needed", False),
        "ExposureTimeAbs": ("out of its range from 10 to 10000000", False),
        "TestBoolean": ("true or false is needed", False),
        "PixelFormat": (
            "it offers BayerBG8, BayerGB8, BayerGR8, BayerRG8, Mono8, RGB8, Mono16",
            False,
        ),
        "TriggerSoftware": ("a command: true runs it", False),
        "GainRaww": ("this camera has no such feature (did you mean GainRaw?)", False),
        "DeviceVendorName": ("it cannot be set", False),
        "TriggerActivation[TriggerSelector=FrameStart]": ("RisingEdge", True),
        "TriggerMode[TriggerSelector=Nix]": (
            "TriggerSelector: it offers FrameStart, AcquisitionStart",
            False,
        ),
        "a[": ('no name of a feature; write "Name" or "Name[Selector=Entry]"', False),
        "AcquisitionStart": ("mlink sets it, at the start and the end of a run", False),
        "AcquisitionFrameRate": ("a number from 0.1 to 1000 is needed", False),
    }
    assert (info.shape, info.dtype, info.framerate) == ((200, 320, 3), np.uint8, 40.0)


def test_without_a_size_the_camera_keeps_its_own(opened):
    _, info = opened()
    assert info.shape == (512, 512)
    assert info.identity == "genicam:serial=GV07"


def test_frames_are_whole_numbered_and_of_the_camera_s_clock(opened):
    size = {"size": (64, 48), "size_given": True}
    camera, info = opened(framerate=200, framerate_given=True, pixel_format="Mono16", **size)
    into = np.zeros(info.shape, info.dtype)
    camera.start()
    stamps = frames(camera, 250)  # the fake camera begins shortly before its counter's end
    assert camera.retrieve(into)
    assert into.max() > 256
    numbers = [stamp.number for stamp in stamps]
    assert numbers == sorted(set(numbers))
    assert numbers[0] < 65535 < numbers[-1] < 66000 + 250
    assert not any(stamp.estimated for stamp in stamps)


def test_a_trigger_makes_each_frame_and_its_absence_is_no_silence(opened):
    trigger = {"TriggerSource": "Software", "TriggerMode": "On"}
    camera, info = opened(controls=trigger, size=(64, 48), size_given=True)
    assert (info.framerate, info.steady) == (0, False)
    camera.start()
    assert camera.grab() is NoFrame.NOT_YET
    for _ in range(3):
        assert camera.adjust("TriggerSoftware", True).same
        frames(camera, 1)
        assert camera.grab() is NoFrame.NOT_YET
    assert camera.figures()["trigger"] == "FrameStart Software RisingEdge"


def test_the_camera_s_own_rate_does_not_limit_that_of_a_board_s_trigger(opened):
    wish = {"controls": {"TriggerSource": "Software", "TriggerMode": "On"}}
    camera, info = opened(triggered=True, framerate=5.0, framerate_given=True, **wish)
    assert (info.framerate, info.steady) == (5, False)
    assert {answer.setting for answer in info.answers} == {"TriggerSource", "TriggerMode"}
    features = camera._features
    assert features.value("AcquisitionFrameRate") == features.bounds("AcquisitionFrameRate")[1]
    assert features.value("AcquisitionFrameRateEnable") is None  # the fake one does not have it


def test_a_trigger_of_an_earlier_program_does_not_stop_a_bench_that_wants_none(opened):
    camera, _ = opened(controls={"TriggerMode": "On", "TriggerSource": "Line0"})
    camera.close()
    camera, info = opened(size=(64, 48), size_given=True)
    assert info.steady
    camera.start()
    frames(camera, 2)


def test_a_slow_camera_is_not_overdue_before_its_period_is_over(opened):
    camera, _ = opened(framerate=0.4, framerate_given=True, size=(64, 48), size_given=True)
    camera.start()
    frames(camera, 1)
    answers = [camera.grab() for _ in range(5)]
    assert NoFrame.NOT_YET in answers
    assert all(isinstance(each, Stamp) or each is NoFrame.NOT_YET for each in answers)


def test_a_camera_that_a_killed_program_left_running_sends_to_the_next_one(fake):
    held = (
        "import os, sys; from mlink_drivers.camera.backend import CameraRequest, Stamp\n"
        "from mlink_drivers.camera.genicam.camera import GenicamCamera\n"
        "camera = GenicamCamera(); camera.open(sys.argv[1], CameraRequest()); camera.start()\n"
        "while not isinstance(camera.grab(), Stamp): pass\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", held, fake.url], check=False, timeout=120)
    assert done.returncode == -9
    camera = GenicamCamera()
    camera.open(fake.url, CameraRequest(open_timeout_sec=60))
    camera.start()
    frames(camera, 3)
    camera.close()


def test_what_changes_the_pictures_is_refused_during_a_run(opened):
    camera, _ = opened()
    for name in ("Width", "PixelFormat", "BinningHorizontal"):
        answer = camera.adjust(name, 8)
        assert not answer.same
        assert "keep their size and kind" in answer.got


def test_a_camera_that_another_program_controls_is_refused_in_words(fake):
    held = (
        "import sys; from mlink_drivers.camera.backend import CameraRequest\n"
        "from mlink_drivers.camera.genicam.camera import GenicamCamera\n"
        "camera = GenicamCamera(); camera.open(sys.argv[1], CameraRequest())\n"
        "print('open', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", held, fake.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(DeviceError, match="another program or module controls it"):
            GenicamCamera().open(fake.url, CameraRequest(open_timeout_sec=0.1))
        other.kill()  # the camera notices within 3 s that nobody controls it any more
    camera = GenicamCamera()
    camera.open(fake.url, CameraRequest(open_timeout_sec=30))
    camera.close()


def test_lost_packets_make_damaged_frames_which_are_not_sent():
    if reason := why_missing():
        pytest.skip(reason)
    with own_network(), FakeGenicam("GV08", lost=20) as fake:
        camera = GenicamCamera()
        request = CameraRequest(size=(256, 256), size_given=True, framerate=50,
                                framerate_given=True)  # fmt: skip
        info = camera.open(fake.url, request)
        into = np.zeros(info.shape, info.dtype)
        camera.start()
        whole = 0
        stamps = []
        deadline = time.monotonic() + 60
        while len(stamps) < 150 and time.monotonic() < deadline:
            grabbed = camera.grab()
            if isinstance(grabbed, Stamp):
                stamps.append(grabbed)
                whole += camera.retrieve(into)
        missing = camera.figures()["packets_missing"]
        camera.close()
    assert 0 < whole < len(stamps)
    assert stamps[-1].number - stamps[0].number < 50 * len(stamps)
    assert isinstance(missing, int)
    assert missing > 0
    assert camera.figures()["packets_missing"] >= missing
    assert [it.time_ns for it in stamps] == sorted({it.time_ns for it in stamps})


def test_an_unplugged_camera_is_an_error_also_while_it_waits_for_a_trigger(fake, opened):
    camera, _ = opened(controls={"TriggerSource": "Line0", "TriggerMode": "On"})
    camera.start()
    fake.unplug()
    with pytest.raises(DeviceError, match="does not answer any more"):
        frames(camera, 1)


def test_the_library_s_texts_may_be_of_any_bytes():
    assert library._decoded(b"\xff\xfe") == "��"
    assert library._decoded(ctypes.c_int(3).value) == 3
