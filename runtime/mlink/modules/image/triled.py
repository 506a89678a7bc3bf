"""The `triled-tracker` module: follows a subject that wears a red, a green and a blue light."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.metadata import MetaSize, bits_of
from mlink.module import Module, ModuleSettings
from mlink.modules.image.canvas import shown
from mlink.opencv import cv2
from mlink.types import Frame

HEADER: Final = [
    "Time", "Red X", "Red Y", "Green X", "Green Y", "Blue X", "Blue Y", "Center X", "Center Y",
    "Turn Angle (deg)",
]  # fmt: skip
_FASTEST_HZ: Final = 30.0
_PLACES: Final = {"red": 2, "green": 1, "blue": 0}
_LEAST_COLOUR: Final = 40
"""Least difference between the colour of a light and both others, of 255."""
_LEAST_MAZE: Final = 0.1
"""Part of the picture that a maze covers at least."""

Point = tuple[float, float]


class Found(NamedTuple):
    """What was found in a picture: x and y in pixels; None is not seen."""

    lights: dict[str, Point | None]
    """In the order red, green, blue."""
    centre: Point | None
    """Mean of the three lights."""
    angle: float | None
    """Angle from the middle of red and blue to green, in degrees clockwise from up, 0 to 360."""


class TriLedModule(Module[ModuleSettings]):
    """Sends a row and two pictures for each frame, at most 30 a second.

    The second picture is the surroundings of the subject, turned so that green is up; while a light
    is not seen it stays where it was.
    """

    _maze: dict[str, int] | None = None
    _pictures = 0
    _seen = 0
    _view: tuple[Point, float] | None = None

    def prepare(self) -> None:
        """Announce the metadata of the outputs, as far as that of the input is known."""
        self._input = self.context.inputs["frames-in"]
        self._input.on_item = self._on_frame
        self._announce()

    def start(self) -> None:
        """Announce it again, because a script may set its metadata when it starts."""
        self._announce()

    def _announce(self) -> None:
        outputs, name = self.context.outputs, self.context.name
        rate, size = (self._input.metadata.get(key) for key in ("framerate", "size"))
        rate_hz = float(rate) if isinstance(rate, int | float) and rate > 0 else _FASTEST_HZ
        if rate_hz > _FASTEST_HZ:
            self._input.set_throttle(_FASTEST_HZ)
        outputs["track-data"].metadata.update(
            {"table_header": list(HEADER), "data_name_proposal": f"{name}/triLedTrack"}
        )
        for port, proposal in (
            ("track-video", f"{name}_trackvideo/trackVideo"),
            ("animal-video", f"{name}_subjvid/subjInfoVideo"),
        ):
            outputs[port].metadata.update({
                "framerate": min(rate_hz, _FASTEST_HZ), "has_color": True,
                "data_name_proposal": proposal,
            })  # fmt: skip
        if isinstance(size, MetaSize) and min(size.width, size.height) > 0:
            side = _side(size.width, size.height)
            outputs["track-video"].metadata["size"] = size
            outputs["animal-video"].metadata["size"] = MetaSize(side, side)

    def _on_frame(self, frame: Frame) -> None:
        bits = bits_of(self._input.metadata, frame.view.itemsize)
        picture = shown(frame.view, bits, red=False)
        if picture.ndim == 2 or picture.shape[2] < 3:
            raise ModuleError(
                "the frames are grey: the colours of three lights cannot be distinguished",
                remedy="Choose a pixel_format with colours at the camera.",
            )
        picture = np.ascontiguousarray(picture[:, :, :3])
        if self._maze is None:
            self._maze = maze_of(picture)
        found = find_lights(picture)
        self._pictures += 1
        if found.centre is not None and found.angle is not None:
            self._seen += 1
            self._view = found.centre, found.angle
        self._send_row(frame.time_usec, found)
        self._send("track-video", marked(picture, found), frame)
        self._send("animal-video", self._surroundings(picture), frame)

    def _send_row(self, time_usec: int, found: Found) -> None:
        cells = [str(time_usec // 1000)]
        for point in (*found.lights.values(), found.centre):
            cells += ["", ""] if point is None else [f"{point[0]:.2f}", f"{point[1]:.2f}"]
        cells.append("" if found.angle is None else f"{found.angle:.2f}")
        self.context.outputs["track-data"].submit(cells)

    def _surroundings(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = picture.shape[:2]
        side = _side(width, height)
        centre, angle = self._view or (((width - 1) / 2, (height - 1) / 2), 0.0)
        matrix = np.array(cv2.getRotationMatrix2D(centre, angle, 1.0), np.float64)
        matrix[:, 2] += (side - 1) / 2 - np.array(centre)
        return np.asarray(cv2.warpAffine(picture, matrix, (side, side)), np.uint8)

    def _send(self, port: str, picture: NDArray[np.uint8], frame: Frame) -> None:
        self.context.outputs[port].submit(Frame.from_array(picture, frame.index, frame.time_usec))

    def stop(self) -> None:
        """Report in how many pictures all lights were seen, and record where the maze is."""
        if not self._pictures:
            return
        self.context.report("pictures", self._pictures)
        self.context.report("pictures_with_all_lights", self._seen)
        dataset = self.context.create_dataset(f"{self.context.name}-maze")
        if dataset is not None:
            dataset.set_attribute("maze_dimensions", self._maze)


def find_lights(picture: NDArray[np.uint8]) -> Found:
    """Return where the lights are in a picture of shape (H, W, 3), BGR."""
    planes = picture.astype(np.int16)
    lights = {name: _light(planes, place) for name, place in _PLACES.items()}
    red, green, blue = lights.values()
    if red is None or green is None or blue is None:
        return Found(lights, None, None)
    centre = ((red[0] + green[0] + blue[0]) / 3, (red[1] + green[1] + blue[1]) / 3)
    right, up = green[0] - (red[0] + blue[0]) / 2, (red[1] + blue[1]) / 2 - green[1]
    return Found(lights, centre, math.degrees(math.atan2(right, up)) % 360)


def _light(planes: NDArray[np.int16], place: int) -> Point | None:
    """Return the middle of the spot with most of one colour."""
    others = [each for each in range(3) if each != place]
    excess = planes[:, :, place] - planes[:, :, others].max(axis=2)
    # a light is a spot; the mean of its surroundings leaves single pixels of noise behind
    smooth = cv2.blur(np.clip(excess, 0, 255).astype(np.uint8), (3, 3))
    _, highest, _, (x, y) = cv2.minMaxLoc(smooth)
    if highest < _LEAST_COLOUR:
        return None
    spot = (smooth >= highest / 2).astype(np.uint8)
    _, labels = cv2.connectedComponents(spot)
    rows, columns = np.nonzero(labels == labels[y, x])
    weights = smooth[rows, columns].astype(np.float64)
    return float(np.average(columns, weights=weights)), float(np.average(rows, weights=weights))


def maze_of(picture: NDArray[np.uint8]) -> dict[str, int]:
    """Return the corners of the largest bright area; those of the picture if there is none."""
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    _, bright = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest: Any = max(outlines, key=cv2.contourArea, default=None)
    points = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    if largest is not None and cv2.contourArea(largest) >= _LEAST_MAZE * width * height:
        points = largest.reshape(-1, 2)
    along, across = points.sum(axis=1), points[:, 0] - points[:, 1]
    corners = {
        "top_left": points[along.argmin()], "top_right": points[across.argmax()],
        "bottom_left": points[across.argmin()], "bottom_right": points[along.argmax()],
    }  # fmt: skip
    return {
        f"{name}_{axis}": int(value)
        for name, point in corners.items()
        for axis, value in zip("xy", point, strict=True)
    }


def marked(picture: NDArray[np.uint8], found: Found) -> NDArray[np.uint8]:
    """Return a copy of the picture with the lights and the direction drawn."""
    made = picture.copy()
    for name, point in found.lights.items():
        if point is not None:
            colour = [0, 0, 0]
            colour[_PLACES[name]] = 255
            cv2.circle(made, _whole(point), 6, colour, 2)
    green = found.lights["green"]
    if found.centre is not None and green is not None:
        cv2.line(made, _whole(found.centre), _whole(green), (255, 255, 255), 2)
    return made


def _whole(point: Point) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _side(width: int, height: int) -> int:
    """Return the width and height of the picture of the subject: at least 64, as codecs need."""
    return max(64, min(width, height) // 2 // 2 * 2)
