"""A subject with three lights: where it is, where it looks, and what is not seen."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

import mlink
from mlink.errors import ModuleError
from mlink.metadata import MetaSize
from mlink.module import ModuleSettings
from mlink.modules.image.catalog import triled_tracker
from mlink.modules.image.triled import HEADER, TriLedModule, find_lights, maze_of
from mlink.types import Frame
from tests.support.fake_context import FakeContext

LIGHTS = {"red": (-12, 12), "green": (0, -24), "blue": (12, 12)}
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}


def scene(centre: tuple[int, int], degrees: float, *, hidden: str = "") -> np.ndarray:
    """A bright maze on a dark floor; the middle of each light is burnt out, as in real pictures."""
    picture = np.full((240, 320, 3), 20, np.uint8)
    cv2.rectangle(picture, (40, 20), (280, 220), (120, 120, 120), -1)
    turn = math.radians(degrees)
    for name, (x, y) in LIGHTS.items():
        if name == hidden:
            continue
        at = (round(centre[0] + x * math.cos(turn) - y * math.sin(turn)),
              round(centre[1] + x * math.sin(turn) + y * math.cos(turn)))  # fmt: skip
        cv2.circle(picture, at, 4, COLOURS[name], -1)
        cv2.circle(picture, at, 1, (255, 255, 255), -1)
    noise = np.random.default_rng(1).integers(-15, 16, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def made(tmp_path: Path, **metadata: object) -> tuple[TriLedModule, FakeContext]:
    context = FakeContext(triled_tracker, ModuleSettings(), tmp_path, name="mouse")
    context.inputs["frames-in"].metadata.update(metadata)
    module = TriLedModule(context)
    module.prepare()
    module.start()
    return module, context


@pytest.mark.parametrize("degrees", [0, 45, 90, 200, 359])
def test_places_and_direction_are_right(degrees: float) -> None:
    found = find_lights(scene((150, 110), degrees))
    assert found.centre == pytest.approx((150, 110), abs=1.5)
    assert found.angle is not None
    assert abs((found.angle - degrees + 180) % 360 - 180) < 4


def test_rows_and_pictures_of_a_run(tmp_path: Path) -> None:
    module, context = made(tmp_path, framerate=60.0, size=MetaSize(320, 240))
    take = context.inputs["frames-in"].on_item
    take(Frame.from_array(scene((100, 100), 90), 4, 1_234_567))
    take(Frame.from_array(scene((100, 100), 0, hidden="blue"), 5, 1_334_567))
    module.stop()
    outputs = context.outputs
    first, second = outputs["track-data"].items
    assert len(first) == len(HEADER) == 10
    assert first[0] == "1234"
    assert float(first[9]) == pytest.approx(90, abs=4)
    assert second[5:] == ["", "", "", "", ""]
    assert float(second[1]) == pytest.approx(88, abs=1)
    for port, shape in (("track-video", (240, 320, 3)), ("animal-video", (120, 120, 3))):
        items = outputs[port].items
        assert [(each.mat.shape, each.index, each.time_usec) for each in items] == [
            (shape, 4, 1_234_567), (shape, 5, 1_334_567),
        ]  # fmt: skip
        assert outputs[port].metadata["size"] == MetaSize(shape[1], shape[0])
        assert outputs[port].metadata["framerate"] == 30.0
    upright = find_lights(outputs["animal-video"].items[0].mat)
    assert upright.angle is not None
    assert abs((upright.angle + 180) % 360 - 180) < 6
    assert context.reports == {"pictures": 2, "pictures_with_all_lights": 1}


def test_the_maze_is_the_bright_area_or_the_whole_picture() -> None:
    found = maze_of(scene((150, 110), 0))
    wanted = {"top_left": (40, 20), "top_right": (280, 20), "bottom_left": (40, 220),
              "bottom_right": (280, 220)}  # fmt: skip
    for name, (x, y) in wanted.items():
        assert (found[f"{name}_x"], found[f"{name}_y"]) == (x, y)
    plain = maze_of(np.zeros((48, 64, 3), np.uint8))
    assert (plain["top_left_x"], plain["bottom_right_x"], plain["bottom_right_y"]) == (0, 63, 47)


@pytest.mark.parametrize("shape", [(64, 64), (1, 1, 3), (2, 3, 4)])
def test_odd_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    _, context = made(tmp_path)
    take = context.inputs["frames-in"].on_item
    if len(shape) == 2:
        with pytest.raises(ModuleError, match="grey"):
            take(Frame.from_array(np.zeros(shape, np.uint8)))
        return
    take(Frame.from_array(np.zeros(shape, np.uint16)))
    (row,) = context.outputs["track-data"].items
    assert row == ["0", *[""] * 9]


def test_a_run_records_under_the_names_of_syntalos(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("""
[modules.src]
type = "devel.datasource"
fps = 20
[modules.mouse]
type = "triled-tracker"
inputs = { frames-in = "src.frames-out" }
[modules.rows]
type = "table"
inputs = { rows = "mouse.track-data" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "mouse.animal-video" }
""")
    done = mlink.run(tmp_path, duration_s=0.5, out=tmp_path / "rec", time="virtual")
    folder = done.recording_dir
    assert folder is not None
    with (folder / "mouse/triledtrack.csv").open() as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert rows[0] == HEADER
    assert len(rows) == 11
    assert (folder / "videos/mouse_subjvid").is_dir()
    assert "maze_dimensions" in (folder / "mouse-maze/attributes.toml").read_text()
