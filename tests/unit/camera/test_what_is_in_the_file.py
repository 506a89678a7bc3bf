"""Files and folders of images give what is in them: depth, grey, alpha, pages; no silent change."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink.realtime import scheduling_kept
from mlink_drivers.camera.backend import CameraRequest, NoFrame, Stamp
from mlink_drivers.camera.decoding import Converter, layout_of
from mlink_drivers.camera.image_folder import ImageFolderCamera
from mlink_drivers.camera.video_file import VideoFileCamera

RNG = np.random.default_rng(0)


def everything(camera, address):
    """All pictures of a source; None for a damaged one."""
    info = camera.open(address, CameraRequest(paced=False))
    camera.start()
    found = []
    while True:
        grabbed = camera.grab()
        if grabbed is NoFrame.END:
            camera.close()
            return info, found
        assert isinstance(grabbed, Stamp)
        into = np.zeros(info.shape, info.dtype)
        found.append(into if camera.retrieve(into) else None)


def encode(path, codec, stored, pictures, *, array_format=None, options=None,
           container_options=None):  # fmt: skip
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, stored
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format=array_format or stored)
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def places(path):
    """Where each packet of a file begins, and its bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux() if packet.size]


def noise(shape, top=256, dtype=np.uint8, count=4):
    return [RNG.integers(0, top, shape, dtype) for _ in range(count)]


@pytest.mark.parametrize(
    ("stored", "shape", "top", "dtype", "array_format"),
    [
        ("gray", (48, 64), 256, np.uint8, "gray"),
        ("gray10le", (48, 64), 1024, np.uint16, "gray10le"),
        ("gray12le", (48, 64), 4096, np.uint16, "gray12le"),
        ("gray16le", (48, 64), 65536, np.uint16, "gray16le"),
        ("bgr0", (48, 64, 3), 256, np.uint8, "bgr24"),
        ("bgra", (48, 64, 4), 256, np.uint8, "bgra"),
        ("gbrp16le", (48, 64, 3), 65536, np.uint16, "bgr48le"),
        ("gbrap16le", (48, 64, 4), 65536, np.uint16, "bgra64le"),
    ],
)
def test_a_video_gives_its_own_pixels(tmp_path, stored, shape, top, dtype, array_format):
    sent = noise(shape, top, dtype)
    encode(tmp_path / "a.mkv", "ffv1", stored, sent, array_format=array_format)
    info, found = everything(VideoFileCamera(), f"file:{tmp_path / 'a.mkv'}")
    assert (info.shape, info.dtype) == (shape, dtype)
    assert info.bits in {0: (0,), 8: (0,), 10: (10,), 12: (12,), 16: (0, 16)}[top.bit_length() - 1]
    assert np.array_equal(found, sent)


def test_10_bit_colour_comes_in_16_bits(tmp_path):
    ramp = np.linspace(64, 940, 64).astype(np.uint16)
    planes = np.full((48 * 3 // 2, 64), 512, np.uint16)
    planes[:48] = ramp
    encode(tmp_path / "a.mkv", "libx264", "yuv420p10le", [planes] * 3, options={"crf": "1"})
    info, found = everything(VideoFileCamera(), f"file:{tmp_path / 'a.mkv'}")
    assert (info.shape, info.dtype) == ((48, 64, 3), np.uint16)
    assert len(np.unique(found[1])) > 60
    assert found[1].max() > 60_000


def test_av1_is_a_source(tmp_path):
    sent = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(5)]
    with scheduling_kept():
        encode(tmp_path / "a.mkv", "libsvtav1", "yuv420p", sent, array_format="bgr24")
    info, found = everything(VideoFileCamera(), f"file:{tmp_path / 'a.mkv'}")
    assert info.shape == (48, 64, 3)
    assert [round(pixels.mean() / 20) for pixels in found] == [0, 1, 2, 3, 4]


def test_a_change_of_size_in_mid_run_ends_it_in_words(tmp_path):
    parts = []
    for size in ((64, 48), (32, 48)):
        context = av.CodecContext.create("mpeg4", "w")
        context.width, context.height = size
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 30)
        frame = av.VideoFrame(*size, "yuv420p")
        frame.pts = 0
        parts += [bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]]
    (tmp_path / "a.m4v").write_bytes(b"".join(parts))
    with pytest.raises(DeviceError, match="64×48 BGR of 8 bits to 32×48 BGR of 8 bits"):
        everything(VideoFileCamera(), f"file:{tmp_path / 'a.m4v'}")


def test_pixels_that_are_no_whole_numbers_are_refused(tmp_path):
    sent = noise((48, 64, 3), count=2)
    encode(tmp_path / "a.mkv", "ffv1", "gbrpf32le", sent, array_format="bgr24",
           options={"level": "4", "strict": "experimental"})  # fmt: skip
    with pytest.raises(DeviceError, match="gbrpf32le: no whole numbers"):
        everything(VideoFileCamera(), f"file:{tmp_path / 'a.mkv'}")


def test_damaged_pictures_of_h264_are_counted_not_sent(tmp_path):
    sent = noise((48, 64, 3), count=40)
    path = tmp_path / "a.mkv"
    encode(path, "libx264", "yuv420p", sent, array_format="bgr24", options={"bf": "0"})
    data = bytearray(path.read_bytes())
    for position, size in places(path)[10:20]:
        for at in range(position + size // 3, position + size, 17):
            data[at] ^= 0x55
    path.write_bytes(data)
    _, found = everything(VideoFileCamera(), f"file:{path}")
    damaged = [number for number, pixels in enumerate(found) if pixels is None]
    assert len(found) == 40
    assert len(damaged) > 5
    assert set(damaged) <= set(range(10, 20))


def test_half_a_jpeg_is_damaged(tmp_path):
    path = tmp_path / "a.mkv"
    encode(path, "mjpeg", "yuvj422p", noise((48, 64, 3), count=6), array_format="bgr24")
    position, size = places(path)[2]
    data = bytearray(path.read_bytes())
    data[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(data)
    _, found = everything(VideoFileCamera(), f"file:{path}")
    assert [pixels is None for pixels in found] == [False, False, True, False, False, False]


def test_damage_in_the_last_pictures_is_counted(tmp_path):
    path = tmp_path / "a.mkv"
    encode(path, "mjpeg", "yuvj422p", noise((48, 64, 3), count=12), array_format="bgr24")
    data = bytearray(path.read_bytes())
    for position, size in places(path)[-2:]:
        data[position + 20 : position + size] = bytes(size - 20)
    path.write_bytes(data)
    _, found = everything(VideoFileCamera(), f"file:{path}")
    assert [pixels is None for pixels in found] == [False] * 10 + [True] * 2


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_the_frames_that_are_missing_in_a_file_that_was_cut_are_known(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    moved = {"movflags": "faststart"} if suffix == "mp4" else {}
    encode(path, "mjpeg", "yuvj422p", noise((48, 64, 3), count=40), array_format="bgr24",
           container_options=moved)  # fmt: skip
    whole = VideoFileCamera()
    assert len(everything(whole, f"file:{path}")[1]) == 40
    assert whole.missing_at_end() == 0
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = VideoFileCamera()
    _, found = everything(cut, f"file:{path}")
    assert 10 < len(found) < 25
    assert len(found) + cut.missing_at_end() == 40


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_video_of_a_phone_is_upright(turns):
    picture = av.VideoFrame.from_ndarray(noise((48, 64, 3))[0], format="bgr24")

    class Turned:  # PyAV reads the note of a phone, but cannot write it
        rotation = (0, 90, -180, -90)[turns]

        def __getattr__(self, name):
            return getattr(picture, name)

    layout = layout_of(Turned(), "a")
    into = np.zeros(layout.shape, layout.dtype)
    Converter().copy(picture, layout, into)
    assert np.array_equal(into, np.rot90(picture.to_ndarray(format="bgr24"), turns))


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_alpha_of_webm_is_kept(tmp_path, codec):
    sent = [np.full((48, 64, 4), 40 * number, np.uint8) for number in range(1, 5)]
    encode(tmp_path / "a.webm", codec, "yuva420p", sent, array_format="bgra",
           options={"auto-alt-ref": "0"})  # fmt: skip
    info, found = everything(VideoFileCamera(), f"file:{tmp_path / 'a.webm'}")
    assert info.shape == (48, 64, 4)
    assert [round(pixels[..., 3].mean() / 40) for pixels in found] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("suffix", "shape", "dtype"),
    [
        ("png", (48, 64), np.uint16),
        ("png", (48, 64, 3), np.uint16),
        ("png", (48, 64, 4), np.uint8),
        ("png", (48, 64, 4), np.uint16),
        ("tif", (48, 64), np.uint16),
        ("tif", (48, 64, 3), np.uint8),
        ("bmp", (48, 64), np.uint8),
    ],
)
def test_images_give_their_own_pixels(tmp_path, suffix, shape, dtype):
    sent = noise(shape, np.iinfo(dtype).max + 1, dtype)
    for number, pixels in enumerate(sent):
        cv2.imwrite(str(tmp_path / f"f{number}.{suffix}"), pixels)
    info, found = everything(ImageFolderCamera(), f"images:{tmp_path}")
    assert (info.shape, info.dtype) == (shape, dtype)
    assert np.array_equal(found, sent)


def test_every_page_of_a_tiff_is_a_picture(tmp_path):
    sent = noise((48, 64), 65536, np.uint16, 7)
    cv2.imwritemulti(str(tmp_path / "a2.tif"), sent[:3])
    cv2.imwritemulti(str(tmp_path / "a10.tif"), sent[3:])
    info, found = everything(ImageFolderCamera(), f"images:{tmp_path}")
    assert (info.shape, info.dtype) == ((48, 64), np.uint16)
    assert np.array_equal(found, sent)


def test_images_of_floating_point_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.zeros((4, 4), np.float32))
    with pytest.raises(DeviceError, match="pixels of float32"):
        everything(ImageFolderCamera(), f"images:{tmp_path}")
