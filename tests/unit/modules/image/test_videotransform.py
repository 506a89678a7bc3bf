"""`videotransform`: what becomes of the pixels, the announced size, the numbers and the times."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mlink.errors import ModuleError
from mlink.metadata import MetaSize
from mlink.modules.image.catalog import TransformSettings, VideoTransformSettings, videotransform
from mlink.modules.image.transforms import Chain
from mlink.modules.image.videotransform import VideoTransformModule
from mlink.types import Frame
from tests.support.fake_context import FakeContext


def transform(picture, *transforms, bits=16):
    settings = msgspec.convert(list(transforms), list[TransformSettings])
    chain = Chain(settings, picture.shape, picture.dtype, bits)
    into = np.empty(chain.shape, chain.dtype)
    chain.apply(picture, into)
    return into


@pytest.fixture(params=["grey", "colour"])
def picture(request):
    shape = (6, 8) if request.param == "grey" else (6, 8, 3)
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_a_crop_keeps_a_rectangle(picture):
    crop = {"type": "crop", "crop_x": 2, "crop_y": 1, "crop_width": 4, "crop_height": 3}
    assert np.array_equal(transform(picture, crop), picture[1:4, 2:6])


def test_a_crop_without_width_and_height_goes_to_the_edges(picture):
    crop = {"type": "crop", "crop_x": 2, "crop_y": 1}
    assert np.array_equal(transform(picture, crop), picture[1:, 2:])


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 3), (180, 2), (270, 1), (-90, 1)])
def test_a_rotation_by_quarters_is_exact_and_clockwise(picture, degrees, turns):
    rotated = transform(picture, {"type": "rotate", "rotation_degrees": degrees})
    assert np.array_equal(rotated, np.rot90(picture, turns))


def test_a_rotation_by_another_angle_keeps_the_whole_picture():
    picture = np.full((100, 200), 200, np.uint8)
    rotated = transform(picture, {"type": "rotate", "rotation_degrees": 30})
    assert rotated.shape == (187, 224)  # 100 cos + 200 sin, 200 cos + 100 sin of 30°
    assert rotated.sum() == pytest.approx(picture.sum(), rel=0.02)


@pytest.mark.parametrize(("axis", "dimension"), [("x", 0), ("y", 1)])
def test_a_mirror_turns_about_its_axis(picture, axis, dimension):
    mirrored = transform(picture, {"type": "mirror", "mirror_axis": axis})
    assert np.array_equal(mirrored, np.flip(picture, dimension))


def test_scaling_down_averages(picture):
    small = transform(np.repeat(np.repeat(picture, 2, 0), 2, 1), {"type": "scale",
                                                                  "scale_factor": 0.5})  # fmt: skip
    assert np.array_equal(small, picture)


def test_greyscale_weighs_the_colours_as_the_eye_does():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[..., 1] = 255  # green
    grey = transform(picture, {"type": "greyscale"})
    assert grey.shape == (2, 3)
    assert (grey == 150).all()


def test_a_grey_picture_stays_grey_of_16_bits():
    picture = np.arange(6, dtype=np.uint16).reshape(2, 3) * 9000
    assert np.array_equal(transform(picture, {"type": "greyscale"}), picture)


def test_false_colours_make_three_channels_and_contrast_is_spread():
    picture = np.linspace(100, 120, 48).astype(np.uint8).reshape(6, 8)
    assert transform(picture, {"type": "falsecolor"}).shape == (6, 8, 3)
    spread = transform(picture, {"type": "histnorm"})
    assert (spread.min(), spread.max()) == (0, 255)


@pytest.mark.parametrize("kind", ["falsecolor", "histnorm"])
def test_tables_of_8_bits_take_the_bits_that_a_camera_of_10_uses(kind):
    narrow = np.linspace(0, 255, 48).round().astype(np.uint8).reshape(6, 8)
    wide = np.round(narrow * (1023 / 255)).astype(np.uint16)
    made = transform(wide, {"type": kind}, bits=10)
    assert made.dtype == np.uint8
    assert np.array_equal(made, transform(narrow, {"type": kind}))


def test_steps_follow_one_another(picture):
    done = transform(
        picture,
        {"type": "crop", "crop_width": 4},
        {"type": "rotate"},
        {"type": "mirror", "mirror_axis": "y"},
    )
    assert np.array_equal(done, np.rot90(picture[:, :4], 3)[:, ::-1])


def test_no_step_changes_the_source(picture):
    before = picture.copy()
    picture.flags.writeable = False  # as shared memory is
    for kind in ("crop", "scale", "rotate", "mirror", "greyscale", "falsecolor", "histnorm"):
        transform(picture, {"type": kind})
    assert np.array_equal(picture, before)


def test_syntalos_class_names_mean_the_same():
    names = ("CropTransform", "Syntalos::RotateTransform", "HistNormTransform", "grayscale")
    spelled = [TransformSettings(type=name).kind for name in names]
    assert spelled == ["crop", "rotate", "histnorm", "greyscale"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"type": "swirl"}, "is not one of crop"),
        ({"type": "scale", "scale_factor": 0}, "scale_factor"),
        ({"type": "crop", "crop_x": -1}, "negative"),
        ({"type": "mirror", "mirror_axis": "z"}, "mirror_axis"),
        ({"type": "rotate", "degrees": 90}, "degrees"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(entry, reason):
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert({"video_transform": [entry]}, VideoTransformSettings)


def test_an_empty_list_passes_frames_unchanged(tmp_path):
    assert VideoTransformSettings().check(tmp_path) == []
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    chain = Chain([], picture.shape, picture.dtype, 8)
    into = np.zeros_like(picture)
    chain.apply(picture, into)
    assert np.array_equal(into, picture)


# --- the module ------------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path):
    def make(*transforms, **metadata):
        settings = msgspec.convert({"video_transform": list(transforms)}, VideoTransformSettings)
        context = FakeContext(videotransform, settings, tmp_path)
        context.inputs["frames-in"].metadata = metadata
        module = VideoTransformModule(context)
        module.prepare()
        module.start()
        return context

    return make


HALF = {"type": "scale", "scale_factor": 0.5}


def test_the_metadata_is_the_sources_but_for_the_size(make):
    context = make(
        HALF,
        {"type": "greyscale"},
        size=MetaSize(64, 48),
        framerate=25.0,
        has_color=True,
        timestamp_source="v4l2-monotonic",
        src_mod_name="eye",
    )
    assert context.outputs["frames-out"].metadata == {
        "size": MetaSize(32, 24),
        "framerate": 25.0,
        "has_color": False,
        "timestamp_source": "v4l2-monotonic",
    }


def test_frames_keep_their_number_and_time(make):
    context = make(HALF, size=MetaSize(64, 48))
    frame = Frame.from_array(np.full((48, 64, 3), 9, np.uint8), 7, 123_456)
    context.inputs["frames-in"].on_item(frame)
    (sent,) = context.outputs["frames-out"].items
    assert (sent.index, sent.time_usec) == (7, 123_456)
    assert sent.view.shape == (24, 32, 3)
    assert (sent.view == 9).all()


def test_a_frame_of_another_size_than_announced_is_an_error(make):
    context = make(HALF, size=MetaSize(640, 480))
    with pytest.raises(ModuleError, match="64×48, but its source announced 640×480"):
        context.inputs["frames-in"].on_item(Frame.from_array(np.zeros((48, 64), np.uint8)))


def test_a_crop_outside_the_picture_is_an_error_before_the_run(make):
    with pytest.raises(ModuleError, match="is not in 64×48 pixels"):
        make({"type": "crop", "crop_x": 60, "crop_width": 10}, size=MetaSize(64, 48))
