"""The LED of the scene, lit by a board's pin."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import CameraRequest, Stamp
from mlink_hil.board_choice import scene_endpoint
from mlink_hil.scene.camera import SceneCamera
from mlink_hil.scene.lines import BoardLines
from tests.support.boards.virtual_uno import open_uno


def test_the_led_is_as_bright_as_the_pin_was_high_during_the_exposure(tmp_path):
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        lines = BoardLines(endpoint.control, [9])

        def share(end_ns):
            lines.catch_up(end_ns)
            (found,) = lines.share_high(9, np.array([end_ns]), 10_000_000)
            return found

        on = board.drive(9, True).time_ns
        lines.catch_up(on + 20_000_000)
        off = board.drive(9, False).time_ns
        assert share(on) == pytest.approx(0)
        assert share(on + 5_000_000) == pytest.approx(0.5)
        assert share(on + 15_000_000) == pytest.approx(1)
        assert share(off + 2_500_000) == pytest.approx(0.75)
        assert share(off + 10_000_000) == pytest.approx(0)
        lines.close()


def test_a_scene_shows_the_light_of_a_board(tmp_path):
    with open_uno(tmp_path, "protocol") as (_, board, _):
        camera = SceneCamera()
        eye = scene_endpoint("eye", "virtual:scene?board=uno&led=9", None, tmp_path)
        info = camera.open(eye.address, CameraRequest(size=(320, 240), framerate=100))
        camera.start()
        image = np.empty(info.shape, info.dtype)
        x, y = 240, 180

        def look() -> int:
            """Return the brightness of the light in the first frame exposed after the call."""
            called_ns = time.monotonic_ns()
            while True:
                stamp = camera.grab()
                assert isinstance(stamp, Stamp)
                assert camera.retrieve(image)  # a board that is gone gives no light, and no error
                if stamp.time_ns > called_ns + 5_000_000:  # the exposure is 2 ms
                    return int(image[y, x, 2])

        seen = []
        for level in (False, True, False):
            board.drive(9, level)
            seen.append(look())
        board.quit()
        seen.append(look())
        camera.close()
    assert seen[1] > 200
    assert seen[0] == seen[2] == seen[3] < 60


def test_a_scene_without_its_board_is_an_error(tmp_path):
    eye = scene_endpoint("eye", "virtual:scene?board=due&led=9", None, tmp_path)
    with pytest.raises(DeviceError, match="no simulated board listens"):
        SceneCamera().open(eye.address, CameraRequest())
    with pytest.raises(DeviceError, match=r"led in .* is not a whole number"):
        scene_endpoint("eye", "virtual:scene?board=uno&led=x", None, tmp_path)
