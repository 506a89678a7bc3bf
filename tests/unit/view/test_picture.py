"""A frame as a picture for a page: what it shows, and what it says of the brightness."""

from __future__ import annotations

import numpy as np
import pytest

from mlink.opencv import cv2
from mlink.types import Frame
from mlink.view.picture import make_picture


def decoded(picture):
    return cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_wide_frame_is_reduced_and_its_facts_are_of_the_frame():
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    pixels[:, :960] = (0, 0, 255)
    picture = make_picture("cam.video", Frame.from_array(pixels, 7, 1234), 640, 2000, 8)
    assert (picture.stream, picture.width, picture.index) == ("cam.video", 640, 7)
    assert (picture.time_usec, picture.sent_usec) == (1234, 2000)
    assert picture.shape == [1080, 1920, 3]
    small = decoded(picture)
    assert small.shape == (360, 640, 3)
    assert small[180, 100, 2] > 240  # red stays red
    assert small[180, 500, 2] < 15
    assert picture.saturated == pytest.approx(1 / 6, abs=0.01)
    assert not picture.scaled


def test_16_bits_are_shown_from_their_least_to_their_greatest_value():
    pixels = np.full((48, 64), 1000, np.uint16)
    pixels[:, 32:] = 3000
    picture = make_picture("cam.video", Frame.from_array(pixels), 640, 0, 16)
    assert picture.scaled
    assert (picture.low, picture.high, picture.saturated) == (1000, 3000, 0)
    shown = decoded(picture)
    assert shown[24, 8] < 10
    assert shown[24, 56] > 245
    assert picture.histogram[0] == picture.histogram[-1] == 48 * 32


def test_stated_bits_are_shown_from_black_to_white_and_saturated_at_their_greatest_value():
    pixels = np.full((48, 64), 512, np.uint16)
    pixels[:, 48:] = 1023
    picture = make_picture("cam.video", Frame.from_array(pixels), 640, 0, 10)
    assert not picture.scaled
    assert picture.saturated == 0.25
    assert (abs(int(decoded(picture)[24, 8]) - 128) < 3, decoded(picture)[24, 60]) == (True, 255)
    assert picture.histogram[32] == 48 * 48
    assert picture.histogram[-1] == 48 * 16


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 1), np.uint8),
        ((5, 3, 1), np.uint8),
        ((5, 3, 4), np.uint8),
        ((5, 3, 2), np.uint16),
        ((5, 3), np.int32),
        ((5, 3, 3), np.float32),
    ],
)
def test_every_type_of_frame_can_be_shown(shape, dtype):
    frame = Frame.from_array(np.ones(shape, dtype))
    picture = make_picture("a.b", frame, 100, 0, 8 * frame.view.itemsize)
    assert decoded(picture).shape[:2] == shape[:2]


def test_what_is_not_finite_is_shown_and_does_not_reach_the_page_as_a_number():
    pixels = np.array([[0.0, np.nan], [1.0, np.inf]], np.float32)
    picture = make_picture("a.b", Frame.from_array(pixels), 100, 0, 32)
    assert np.isfinite([picture.low, picture.high]).all()
    assert picture.jpeg
