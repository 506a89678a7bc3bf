"""Pictures of every pixel format that is understood: their colours, depth, rows, and damage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.v4l2.ioctl import fourcc_of
from mlink_drivers.camera.v4l2.pictures import COMPRESSED, PREFERRED, RAW, pictures_of
from mlink_drivers.camera.v4l2.stream import PictureFormat

SIZE = (64, 48)
WIDTH, HEIGHT = SIZE
BLUE, GREEN, RED = 40, 90, 200
BGR = np.full((HEIGHT, WIDTH, 3), (BLUE, GREEN, RED), np.uint8)
YUV = cv2.cvtColor(BGR, cv2.COLOR_BGR2YUV_I420)
Y, U, V = int(YUV[0, 0]), int(YUV[HEIGHT, 0]), int(YUV[-1, -1])
NAMES = {
    "BGGR": ("BA81", "BG10", "BG12", "BG14", "BYR2", "pBAA", "pBCC"),
    "GBRG": ("GBRG", "GB10", "GB12", "GB14", "GB16", "pGAA", "pGCC"),
    "GRBG": ("GRBG", "BA10", "BA12", "GR14", "GR16", "pgAA", "pgCC"),
    "RGGB": ("RGGB", "RG10", "RG12", "RG14", "RG16", "pRAA", "pRCC"),
}


def form(name, line_bytes=0, size=SIZE):
    return PictureFormat(fourcc_of(name), size, line_bytes, alternating=False)


def made(name, line_bytes=0, *, convert=True, size=SIZE):
    return pictures_of(name, form(name, line_bytes, size), "camera X", convert=convert)


def written(name, data, line_bytes=0, **options):
    pictures = made(name, line_bytes, **options)
    data = np.frombuffer(bytes(data), np.uint8)
    assert pictures.learn(data)
    into = np.zeros(pictures.shape, pictures.dtype)
    assert pictures.write(data, into)
    return into


def repeated(*values):
    return bytes(values) * (WIDTH * HEIGHT // 2)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("BGR3", repeated(BLUE, GREEN, RED) * 2),
        ("RGB3", repeated(RED, GREEN, BLUE) * 2),
        ("XR24", repeated(BLUE, GREEN, RED, 0) * 2),
        ("AR24", repeated(BLUE, GREEN, RED, 9) * 2),
        ("XB24", repeated(RED, GREEN, BLUE, 0) * 2),
        ("AB24", repeated(RED, GREEN, BLUE, 9) * 2),
        ("YUYV", repeated(Y, U, Y, V)),
        ("UYVY", repeated(U, Y, V, Y)),
        ("YVYU", repeated(Y, V, Y, U)),
        ("NV12", bytes([Y]) * WIDTH * HEIGHT + bytes([U, V]) * (WIDTH * HEIGHT // 4)),
        ("NV21", bytes([Y]) * WIDTH * HEIGHT + bytes([V, U]) * (WIDTH * HEIGHT // 4)),
        ("YU12", YUV.tobytes()),
        ("YV12", YUV[:HEIGHT].tobytes() + YUV[60:].tobytes() + YUV[48:60].tobytes()),
    ],
)
def test_colours_are_those_of_the_camera(name, data):
    picture = written(name, data)
    assert picture.shape == BGR.shape
    assert np.abs(picture.astype(int) - BGR).max() <= 3


def test_565_has_the_colours_in_5_and_6_bits():
    value = RED >> 3 << 11 | GREEN >> 2 << 5 | BLUE >> 3
    picture = written("RGBP", repeated(*value.to_bytes(2, "little")) * 2)
    assert np.abs(picture.astype(int) - BGR).max() <= 8


def mosaic(pattern, bits):
    values = {"B": BLUE, "G": GREEN, "R": RED}
    tile = np.array([values[each] for each in pattern], np.uint16).reshape(2, 2)
    return np.tile(tile << (bits - 8), (HEIGHT // 2, WIDTH // 2))


def packed(values, bits):
    """Pack values of 10 or 12 bits as MIPI CSI-2 does."""
    group, low = (4, 2) if bits == 10 else (2, 4)
    groups = values.reshape(-1, group)
    last = np.zeros(len(groups), np.uint16)
    for n in range(group):
        last |= (groups[:, n] & ((1 << low) - 1)) << (n * low)
    return np.column_stack([groups >> low, last]).astype(np.uint8).tobytes()


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("pattern", NAMES)
def test_bayer_patterns_become_colour_or_stay_as_they_are(pattern, at):
    bits = (8, 10, 12, 14, 16, 10, 12)[at]
    name = NAMES[pattern][at]
    values = mosaic(pattern, bits)
    kind = np.uint8 if bits == 8 else np.uint16
    data = packed(values, bits) if at > 4 else values.astype(kind).tobytes()
    colour = written(name, data)
    assert colour.dtype == kind
    scale = 1 if bits == 8 else 256  # more than 8 bits fill 16
    assert colour[HEIGHT // 2, WIDTH // 2].tolist() == [n * scale for n in (BLUE, GREEN, RED)]
    assert np.array_equal(written(name, data, convert=False), values)


@pytest.mark.parametrize(
    ("name", "kind", "most"),
    [
        ("GREY", "<u1", 255), ("Y10 ", "<u2", 1023), ("Y12 ", "<u2", 4095),
        ("Y14 ", "<u2", 16383), ("Y16 ", "<u2", 65535), ("Y16 -BE", ">u2", 65535),
        ("Z16 ", "<u2", 65535),
    ],
)  # fmt: skip
@pytest.mark.parametrize("convert", [True, False])
def test_grey_keeps_its_own_values(name, kind, most, convert):
    values = np.linspace(0, most, WIDTH * HEIGHT).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
    picture = written(name, values.astype(kind).tobytes(), convert=convert)
    assert np.array_equal(picture, values)
    used = most.bit_length()
    assert made(name, convert=convert).bits == (used if 8 < used < 16 else 0)


@pytest.mark.parametrize(("name", "bits"), [("Y10P", 10), ("Y12P", 12)])
def test_packed_grey_is_unpacked(name, bits):
    values = np.random.default_rng(1).integers(0, 1 << bits, (HEIGHT, WIDTH)).astype(np.uint16)
    assert np.array_equal(written(name, packed(values, bits)), values)
    narrow = values[:, : WIDTH - 1]  # the last group has a value too many
    line = WIDTH // 4 * 5 if bits == 10 else WIDTH // 2 * 3
    picture = written(name, packed(values, bits), line, size=(WIDTH - 1, HEIGHT))
    assert np.array_equal(picture, narrow)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("YUYV", (48, 64, 2)), ("BGR3", (48, 64, 3)), ("NV12", (72, 64)), ("RGGB", (48, 64))],
)
def test_unconverted_pictures_have_the_bytes_of_the_camera(name, shape):
    data = np.random.default_rng(1).integers(0, 256, int(np.prod(shape)), np.uint8)
    picture = written(name, data, convert=False)
    assert picture.shape == shape
    assert picture.tobytes() == data.tobytes()


@pytest.mark.parametrize("name", [name for name in RAW if len(name) == 4])
@pytest.mark.parametrize("convert", [True, False])
def test_padding_after_the_rows_changes_nothing(name, convert):
    pictures = made(name, convert=convert)
    rng = np.random.default_rng(1)
    rows = 72 if RAW[name].planes > 1 else 48
    line = 1
    while not made(name, convert=convert).learn(np.zeros(rows * line, np.uint8)):
        line += 1
    plain = rng.integers(0, 256, (rows, line), np.uint8)
    padded = np.full((rows, line + 32), 99, np.uint8)
    padded[:, :line] = plain
    if RAW[name].planes == 3:  # rows of colour have half the bytes, and half the padding
        colours = np.full((48, (line + 32) // 2), 99, np.uint8)
        colours[:, : line // 2] = plain[48:].reshape(48, line // 2)
        padded[48:] = colours.reshape(24, line + 32)
    found = []
    for data, line_bytes in ((plain, 0), (padded, line + 32)):
        pictures = made(name, line_bytes, convert=convert)
        into = np.zeros(pictures.shape, pictures.dtype)
        assert pictures.write(data.reshape(-1), into)
        found.append(into)
    assert np.array_equal(*found)


@pytest.mark.parametrize("name", [name for name in RAW if len(name) == 4])
@pytest.mark.parametrize("convert", [True, False])
@pytest.mark.parametrize("line", [0, 400])
def test_a_picture_with_a_byte_too_few_is_damaged(name, convert, line):
    pictures = made(name, line, convert=convert)
    most = np.zeros(200_000, np.uint8)
    low, high = 0, len(most)
    while high - low > 1:  # the number of bytes that it needs
        middle = (low + high) // 2
        low, high = (low, middle) if pictures.learn(most[:middle]) else (middle, high)
    into = np.zeros(pictures.shape, pictures.dtype)
    assert pictures.write(most[:high], into)
    assert not pictures.write(most[:low], into)
    assert not pictures.write(most[:0], into)


def test_without_a_request_raw_colour_is_preferred_and_everything_is_listed():
    assert sorted(PREFERRED) == sorted({*RAW, *COMPRESSED})
    assert PREFERRED.index("YUYV") < PREFERRED.index("MJPG") < PREFERRED.index("GREY")


def test_odd_sizes_with_shared_colours_are_refused():
    with pytest.raises(DeviceError, match="63×48 pixels"):
        made("NV12", size=(63, 48))
    with pytest.raises(DeviceError, match="cannot be converted"):
        made("YUYV", size=(63, 48)).learn(np.zeros(63 * 48 * 2, np.uint8))


# --- JPEG --------------------------------------------------------------------------------------


def jpeg(number=0, size=SIZE):
    rng = np.random.default_rng(number)
    small = rng.integers(0, 255, (6, 8, 3), np.uint8)
    picture = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return picture, np.asarray(cv2.imencode(".jpg", picture, options)[1])


def test_a_jpeg_is_decoded_to_bgr():
    picture, data = jpeg()
    decoded = written("MJPG", data)
    assert np.abs(decoded.astype(int) - picture).mean() < 4


def test_a_grey_jpeg_stays_grey():
    data = cv2.imencode(".jpg", BGR[:, :, 0])[1]
    assert written("MJPG", data).shape == (HEIGHT, WIDTH)


def test_bytes_after_the_end_do_no_harm():
    _, data = jpeg()
    pictures = made("MJPG")
    padded = np.concatenate([data, np.zeros(5000, np.uint8)])
    assert pictures.learn(padded)
    one, two = (np.zeros(pictures.shape, np.uint8) for _ in range(2))
    assert pictures.write(padded, one)
    assert pictures.write(data, two)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("what", ["cut", "end missing", "hole", "nothing", "noise", "other size"])
def test_a_damaged_jpeg_is_found_and_the_next_is_good(what):
    _, data = jpeg(size=(640, 480))
    hole = data.copy()
    hole[len(data) // 3 : len(data) // 2] = 0
    bad = {
        "cut": data[: len(data) // 2],
        "end missing": data[:-2],
        "hole": hole,
        "nothing": data[:0],
        "noise": np.random.default_rng(1).integers(0, 256, 5000, np.uint8),
        "other size": jpeg()[1],
    }[what]
    pictures = made("MJPG")
    assert pictures.learn(data)
    into = np.zeros(pictures.shape, np.uint8)
    assert not pictures.write(bad, into)
    assert pictures.write(data, into)


def test_a_camera_that_never_ends_its_pictures_is_taken_as_it_is():
    pictures = made("MJPG")
    first, second = jpeg(1)[1][:-2], jpeg(2)[1][:-2]
    assert pictures.learn(first)
    into = np.zeros(pictures.shape, np.uint8)
    assert pictures.write(second, into)
    assert into.any()


def test_noise_is_no_first_picture():
    pictures = made("MJPG")
    assert not pictures.learn(np.zeros(1000, np.uint8))


def test_a_jpeg_cannot_stay_as_it_is():
    with pytest.raises(DeviceError, match="have to be decoded") as caught:
        made("MJPG", convert=False)
    assert "YUYV" in caught.value.remedy


def test_decoding_starts_no_thread():
    pictures = made("MJPG")
    _, data = jpeg(size=(1920, 1080))
    pictures.learn(data)
    before = len(list(Path("/proc/self/task").iterdir()))
    assert pictures.write(data, np.zeros(pictures.shape, np.uint8))
    assert len(list(Path("/proc/self/task").iterdir())) == before
