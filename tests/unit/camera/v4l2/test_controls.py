"""Controls of a camera by name: set, read back, and refused; and its modes."""

from __future__ import annotations

import errno
import struct

import pytest

from mlink.metadata import Settable
from mlink_drivers.camera.v4l2 import ioctl
from mlink_drivers.camera.v4l2.controls import V4L2Controls
from mlink_drivers.camera.v4l2.modes import list_modes
from mlink_drivers.camera.v4l2.settings import V4L2Settings

USER, CAMERA = 0x0098_0900, 0x009A_0900
INTEGER, BOOLEAN, MENU, BUTTON = 1, 2, 3, 4


class FakeDriver:
    """A UVC camera, as its driver answers ioctls."""

    def __init__(self):
        # id: (kind, name, minimum, maximum, step, default, flags)
        self.controls = {
            USER + 0: (INTEGER, b"Brightness", 0, 255, 1, 128, 0),
            USER + 12: (BOOLEAN, b"White Balance, Automatic", 0, 1, 1, 1, 0),
            USER + 19: (INTEGER, b"Gain", 0, 100, 5, 0, 0),
            USER + 24: (MENU, b"Power Line Frequency", 0, 2, 1, 2, 0),
            USER + 26: (INTEGER, b"White Balance Temperature", 2800, 6500, 1, 4600, 0),
            USER + 99: (INTEGER, b"Temperature of the Chip", 0, 100, 1, 0, 4),  # read-only
            CAMERA + 0: (6, b"Camera Controls", 0, 0, 0, 0, 0),  # a heading
            CAMERA + 1: (MENU, b"Auto Exposure", 0, 3, 1, 3, 0),
            CAMERA + 2: (INTEGER, b"Exposure Time, Absolute", 3, 2047, 1, 250, 0),
            CAMERA + 20: (BUTTON, b"Pan, Reset", 0, 0, 0, 0, 0x40),
        }
        self.menus = {
            USER + 24: {0: b"Disabled", 1: b"50 Hz", 2: b"60 Hz"},
            CAMERA + 1: {1: b"Manual Mode", 3: b"Aperture Priority Mode"},
        }
        self.values = {id_: control[5] for id_, control in self.controls.items()}
        self.sets = []
        self.refuses = {}

    def __call__(self, descriptor, request, buffer):
        (head,) = struct.unpack_from("=I", buffer)
        if request == ioctl.QUERYCTRL:
            following = [id_ for id_ in sorted(self.controls) if id_ > head & 0x7FFF_FFFF]
            if not following:
                raise OSError(errno.EINVAL, "Invalid argument")
            id_ = following[0]
            kind, name, *numbers = self.controls[id_]
            struct.pack_into("=II32siiiiI", buffer, 0, id_, kind, name, *numbers)
        elif request == ioctl.QUERYMENU:
            _, index = struct.unpack_from("=II", buffer)
            if index not in self.menus[head]:
                raise OSError(errno.EINVAL, "Invalid argument")
            struct.pack_into("=II32s", buffer, 0, head, index, self.menus[head][index])
        elif request == ioctl.G_CTRL:
            struct.pack_into("=Ii", buffer, 0, head, self.values[head])
        elif request == ioctl.S_CTRL:
            _, value = struct.unpack("=Ii", buffer)
            if head in self.refuses:
                raise OSError(self.refuses[head], "refused")
            kind, _, minimum, maximum, step, *_ = self.controls[head]
            self.sets.append((head, value))
            if kind == INTEGER:
                value = min(max(value, minimum), maximum)
                value = minimum + (value - minimum) // step * step
            self.values[head] = value
        else:
            raise OSError(errno.ENOTTY, "not for me")


@pytest.fixture
def driver():
    return FakeDriver()


@pytest.fixture
def settings(driver, tmp_path):
    node = tmp_path / "video0"
    node.touch()
    settings = V4L2Settings(V4L2Controls(node, driver))
    yield settings
    settings.close()


def test_controls_are_listed_as_v4l2_ctl_names_them(driver, tmp_path):
    node = tmp_path / "video0"
    node.touch()
    controls = V4L2Controls(node, driver)
    assert [control.name for control in controls.everything()] == [
        "brightness",
        "white_balance_automatic",
        "gain",
        "power_line_frequency",
        "white_balance_temperature",
        "temperature_of_the_chip",
        "auto_exposure",
        "exposure_time_absolute",
        "pan_reset",
    ]
    exposure = controls.find("auto_exposure")
    assert exposure.offers == "1 (Manual Mode), 3 (Aperture Priority Mode)"
    assert controls.find("exposure_auto") is exposure  # its name before kernel 5.18
    controls.close()


def test_a_person_is_offered_what_can_be_set_with_its_range_and_present_value(settings, driver):
    driver.values[USER + 19] = 35
    offered = {each.name: each for each in settings.settables()}
    assert list(offered) == [
        "brightness", "white_balance_automatic", "gain", "power_line_frequency",
        "white_balance_temperature", "auto_exposure", "exposure_time_absolute",
    ]  # fmt: skip
    assert offered["gain"] == Settable("gain", 35, 0, 100, 5)
    assert offered["white_balance_automatic"] == Settable("white_balance_automatic", True)
    modes = ("Manual Mode", "Aperture Priority Mode")
    assert offered["auto_exposure"] == Settable("auto_exposure", modes[1], choices=modes)
    for each in offered.values():
        for wish in each.choices or [each.value]:
            answer = settings.apply(each.name, wish)
            assert answer.same, answer


def test_an_exposure_in_microseconds_is_set_by_hand_and_read_back(settings, driver):
    answer = settings.apply("exposure", 5000)
    assert driver.sets == [(CAMERA + 1, 1), (CAMERA + 2, 50)]  # manual first, then 100 µs units
    assert (str(answer), answer.same) == ("exposure: asked 5000 µs, got 5000 µs", True)


def test_an_exposure_finer_than_the_camera_can_do_is_no_difference(settings):
    answer = settings.apply("exposure", 5049)
    assert (answer.got, answer.same) == ("5000 µs", True)


@pytest.mark.parametrize(("asked", "got"), [(10, "300 µs"), (10**6, "204700 µs")])
def test_an_exposure_out_of_range_becomes_the_nearest_and_is_a_difference(settings, asked, got):
    answer = settings.apply("exposure", asked)
    assert (answer.got, answer.same) == (got, False)


def test_automatic_exposure_is_the_mode_that_the_camera_has(settings, driver):
    answer = settings.apply("exposure", "auto")
    assert driver.sets == [(CAMERA + 1, 3)]
    assert (answer.got, answer.same) == ("auto", True)


def test_a_value_by_hand_switches_the_automatic_mode_off_first(settings, driver):
    answer = settings.apply("white_balance", 5000)
    assert driver.sets == [(USER + 12, 0), (USER + 26, 5000)]
    assert (str(answer), answer.same) == ("white_balance: asked 5000 K, got 5000 K", True)
    answer = settings.apply("white_balance", "auto")
    assert driver.values[USER + 12] == 1
    assert answer.same


def test_what_the_driver_rounds_is_a_difference(settings):
    answer = settings.apply("gain", 7)
    assert (str(answer), answer.same) == ("gain: asked 7, got 5", False)


@pytest.mark.parametrize(
    ("asked", "value"), [(50, 1), ("50", 1), ("60 Hz", 2), ("off", 0), (0, 0), (60, 2)]
)
def test_the_power_line_frequency_is_given_in_hertz(settings, driver, asked, value):
    assert settings.apply("power_line_frequency", asked).same
    assert driver.values[USER + 24] == value


def test_an_unknown_menu_entry_is_answered_with_the_known_ones(settings, driver):
    answer = settings.apply("power_line_frequency", "auto")
    assert not answer.same
    assert answer.got == "it offers 0 (Disabled), 1 (50 Hz), 2 (60 Hz)"
    assert driver.sets == []


@pytest.mark.parametrize(
    ("name", "wish", "id_", "value"),
    [
        ("auto_exposure", "Manual Mode", CAMERA + 1, 1),
        ("exposure_auto", 3, CAMERA + 1, 3),
        ("exposure_absolute", 17, CAMERA + 2, 17),
        ("White Balance, Automatic", False, USER + 12, 0),
        ("white_balance_automatic", "on", USER + 12, 1),
        ("brightness", "0x10", USER + 0, 16),
        ("pan_reset", True, CAMERA + 20, 1),
    ],
)
def test_any_control_is_set_by_its_name(settings, driver, name, wish, id_, value):
    assert settings.apply(name, wish).same
    assert driver.sets == [(id_, value)]


@pytest.mark.parametrize(
    ("name", "wish", "expected"),
    [
        ("zoom_absolute", 2, "no such control"),
        ("focus", 10, "no such control"),
        ("focus", "auto", "no automatic focus"),
        ("temperature_of_the_chip", 20, "cannot be set"),
        ("gain", "much", "0 to 100 by 5"),
        ("auto_exposure", "whatever", "1 (Manual Mode)"),
    ],
)
def test_an_impossible_setting_is_an_answer_and_no_error(settings, driver, name, wish, expected):
    answer = settings.apply(name, wish)
    assert not answer.same
    assert expected in answer.got
    assert driver.sets == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EBUSY, "another setting controls it"), (errno.ERANGE, "out of its range"),
     (errno.EIO, "refused")],
)  # fmt: skip
def test_a_refusal_of_the_driver_is_an_answer_with_the_reason(settings, driver, number, expected):
    driver.refuses[USER + 0] = number
    answer = settings.apply("brightness", 1)
    assert not answer.same
    assert expected in answer.got


def test_a_node_without_controls_has_none(tmp_path):
    def no_controls(descriptor, request, buffer):
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    node = tmp_path / "video0"
    node.touch()
    controls = V4L2Controls(node, no_controls)
    assert controls.everything() == ()
    controls.close()


# --- modes -------------------------------------------------------------------------------------


class FakeModes:
    """Two formats: one with sizes and rates one by one, one with ranges of both."""

    SIZES = [(640, 480), (1920, 1080)]
    RATES = {(640, 480): [(1, 30), (1, 15)], (1920, 1080): [(1, 5)]}

    def __call__(self, descriptor, request, buffer):
        index, fourcc = struct.unpack_from("=II", buffer)
        if request == ioctl.ENUM_FMT:
            (name,) = [b"YUYV", b"GREY"][index : index + 1] or [None]
            self.end_unless(name)
            struct.pack_into("=4s", buffer, 44, name)
            return
        is_yuyv = fourcc.to_bytes(4, "little") == b"YUYV"
        if request == ioctl.ENUM_FRAMESIZES and is_yuyv:
            self.end_unless(index < 2)
            struct.pack_into("=III", buffer, 8, 1, *self.SIZES[index])
        elif request == ioctl.ENUM_FRAMESIZES:
            self.end_unless(index == 0)
            struct.pack_into("=7I", buffer, 8, 3, 32, 3840, 2, 16, 2160, 2)
        elif is_yuyv:
            rates = self.RATES[struct.unpack_from("=II", buffer, 8)]
            self.end_unless(index < len(rates))
            struct.pack_into("=III", buffer, 16, 1, *rates[index])
        else:
            self.end_unless(index == 0)
            struct.pack_into("=5I", buffer, 16, 2, 1, 120, 1, 1)

    @staticmethod
    def end_unless(more):
        if not more:
            raise OSError(errno.EINVAL, "Invalid argument")


def test_the_modes_of_a_camera_are_listed_the_largest_and_fastest_first(tmp_path):
    node = tmp_path / "video0"
    node.touch()
    assert [str(mode) for mode in list_modes(node, FakeModes())] == [
        "YUYV 1920×1080 at 5 fps",
        "YUYV 640×480 at 30, 15 fps",
        "GREY 32×16 to 3840×2160 at 120 to 1 fps",
    ]
