"""The camera sees the light come on and go out after the button.

pytest hil/benches/camera-sees-light
"""

import cv2
import pytest

from mlink_hil.testing import edge

BUTTON, LIGHT = 7, 8
PLACE = (468, 348, 24, 24)  # where the LED is in the picture: x, y, width, height
LIT = 100  # mean brightness of that place, 0 to 255: 20 when dark, 180 when lit
SOON_USEC = 150_000  # three frames at 60 Hz take 50 ms; the rest is for a busy computer

pytestmark = pytest.mark.bench("bench.toml")


def test_the_camera_sees_the_light_come_on(bench, board, camera):
    place = camera.region(*PLACE)
    press = board.line(BUTTON).drive(False)
    seen = bench.expect(place.brightens(above=LIT), within_usec=SOON_USEC, after=press)
    bench.measure("press to picture", seen.since(press))


def test_the_camera_sees_the_light_go_out(bench, board, camera):
    place = camera.region(*PLACE)
    press = board.line(BUTTON).drive(False)
    bench.expect(place.brightens(above=LIT), within_usec=SOON_USEC, after=press)
    let_go = board.line(BUTTON).release()
    bench.expect(place.darkens(below=LIT), within_usec=SOON_USEC, after=let_go)


def test_the_frame_that_first_shows_the_light_is_the_next_one_after_the_edge(bench, board, camera):
    place = camera.region(*PLACE)
    press = board.line(BUTTON).drive(False)
    lit = bench.expect(edge(LIGHT, rising=True), within_usec=SOON_USEC, after=press)
    seen = bench.expect(place.brightens(above=LIT), within_usec=SOON_USEC, after=press)
    assert seen.latest_usec >= lit.time_usec
    # a period of 16.7 ms, an exposure of 2 ms that may have begun before the edge, 4 ms of readout
    bench.measure("edge to frame", seen.since(lit), at_most=25_000)


def test_the_light_is_red_and_round(board, bench, camera):
    press = board.line(BUTTON).drive(False)

    def shows_red_disc(picture):
        red = cv2.inRange(picture, (60, 100, 200), (180, 200, 255))
        outlines, _ = cv2.findContours(red, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        return any(cv2.contourArea(outline) > 1000 for outline in outlines)

    picture = camera.wait_picture(shows_red_disc, within_usec=SOON_USEC, after=press)
    bench.measure("frame that shows it", picture.index)
