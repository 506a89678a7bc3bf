"""Channels of frames: split and combined again they are the same; what does not fit is counted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import mlink
from mlink.errors import BenchError, ModuleError
from mlink.modules.image.catalog import PrismSettings, prism
from mlink.modules.image.prism import PrismModule
from mlink.types import Frame
from tests.support.fake_context import FakeContext


def made(tmp_path: Path, rate: float = 10.0, **settings: object) -> tuple[PrismModule, FakeContext]:
    context = FakeContext(prism, PrismSettings(**settings), tmp_path)
    for port in context.inputs.values():
        port.metadata.update({"framerate": rate, "src_mod_name": "cam"})
    module = PrismModule(context)
    module.prepare()
    module.start()
    return module, context


def picture(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    shape = (6, 8, channels) if channels > 1 else (6, 8)
    return np.random.default_rng(channels).integers(0, 255, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_split_and_combined_it_is_the_same(tmp_path: Path, dtype: type, channels: int) -> None:
    alpha = channels == 4
    _, split = made(tmp_path, ch_a=alpha)
    _, combine = made(tmp_path, mode=1, ch_a=alpha)
    whole = picture(channels, dtype)
    split.inputs["frames-in"].on_item(Frame.from_array(whole, 7, 1234))
    for name in "rgba"[:channels]:
        (part,) = split.outputs[f"frames-{name}"].items
        assert (part.index, part.time_usec, part.mat.ndim) == (7, 1234, 2)
        combine.inputs[f"frames-{name}"].on_item(part)
    (again,) = combine.outputs["frames-out"].items
    assert np.array_equal(again.mat, whole)
    assert (again.index, again.time_usec) == (7, 1234)
    assert combine.outputs["frames-out"].metadata["has_color"] is True
    assert split.outputs["frames-r"].metadata["has_color"] is False
    assert "src_mod_name" not in split.outputs["frames-r"].metadata


def test_grey(tmp_path: Path) -> None:
    _, context = made(tmp_path, mode=2)
    take = context.inputs["frames-in"].on_item
    take(Frame.from_array(picture(), 1, 5))
    take(Frame.from_array(picture(1), 2, 6))
    first, second = context.outputs["frames-out"].items
    assert np.array_equal(first.mat, cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY))
    assert np.array_equal(second.mat, picture(1))


def test_frames_of_different_times_are_not_combined(tmp_path: Path) -> None:
    module, context = made(tmp_path, mode=1, ch_b=False)
    red, green = (context.inputs[f"frames-{name}"].on_item for name in "rg")
    for n in (0, 1, 3):  # number 2 is lost
        red(Frame.from_array(np.full((2, 2), n, np.uint8), n, n * 100_000))
    for n in range(4):
        green(Frame.from_array(np.full((2, 2), n, np.uint8), n, n * 100_000 + 30_000))
    items = context.outputs["frames-out"].items
    assert [each.index for each in items] == [0, 1, 3]
    assert all(np.all(each.mat[:, :, 2] == each.mat[:, :, 1]) for each in items)
    assert all(np.all(each.mat[:, :, 0] == 0) for each in items)
    for n in range(4, 40):
        green(Frame.from_array(np.full((2, 2), n, np.uint8), n, n * 100_000))
    module.stop()
    assert context.reports["frames_unpaired"] == 1 + 36


def test_a_channel_may_be_far_ahead_and_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, context = made(tmp_path, mode=1, ch_b=False)
    red, green = (context.inputs[f"frames-{name}"].on_item for name in "rg")
    for n in range(300):
        red(Frame.from_array(np.full((2, 2), 1, np.uint8), n, n * 100_000))
    for n in range(300):
        green(Frame.from_array(np.full((2, 2), 2, np.uint8), n, n * 100_000))
    assert len(context.outputs["frames-out"].items) == 300
    monkeypatch.setattr("mlink.modules.image.prism._MOST_WAITING_BYTES", 40)  # 10 more frames
    for n in range(300, 400):
        red(Frame.from_array(np.full((2, 2), 1, np.uint8), n, n * 100_000))
    assert len(module._waiting["r"]) == 11
    module.stop()
    assert context.reports["frames_unpaired"] == 100


def test_what_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    _, context = made(tmp_path, ch_a=True)
    with pytest.raises(ModuleError, match="no alpha"):
        context.inputs["frames-in"].on_item(Frame.from_array(picture()))
    _, context = made(tmp_path, mode=1, ch_b=False)
    context.inputs["frames-r"].on_item(Frame.from_array(picture(1)))
    with pytest.raises(ModuleError, match="not alike"):
        context.inputs["frames-g"].on_item(Frame.from_array(np.zeros((3, 3), np.uint8)))
    _, context = made(tmp_path, mode=1, ch_b=False, ch_g=False)
    with pytest.raises(ModuleError, match="have colours"):
        context.inputs["frames-r"].on_item(Frame.from_array(picture()))
    text = '[modules.p]\ntype = "prism"\nch_r = false\nch_g = false\nch_b = false\n'
    (tmp_path / "bench.toml").write_text(text)
    with pytest.raises(BenchError, match="at least one channel"):
        mlink.load_bench(tmp_path)


def test_a_run_splits_and_combines_in_virtual_time(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("""
[modules.src]
type = "devel.datasource"
fps = 20
[modules.split]
type = "prism"
inputs = { frames-in = "src.frames-out" }
[modules.combine]
type = "prism"
mode = 1
inputs = { frames-r = "split.frames-r", frames-g = "split.frames-g", frames-b = "split.frames-b" }
[modules.meter]
type = "flowmeter"
inputs = { data-in = "combine.frames-out" }
""")
    done = mlink.run(tmp_path, duration_s=1.01, record=False, time="virtual")
    assert done.reports["meter"]["items"] == 20
    assert done.reports["combine"]["frames_unpaired"] == 0
