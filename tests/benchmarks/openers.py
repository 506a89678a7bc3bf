"""Who can open our videos: a table of codecs, containers and programs, for docs/recordings.md.

Each codec is recorded into each container that holds it, and opened with the ffmpeg program, OpenCV
(seek to a frame by its number), edlio, VLC (its scene filter writes the pictures that it shows) and
napari (by its plugin napari-video). Programs that are not installed have "?".
Run: python -m tests.benchmarks.openers [--napari PYTHON]      (apt-get install vlc-bin
vlc-plugin-base; pip install napari napari-video, in a venv of its own)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mlink.modules.video.choices import CONTAINER_CODECS
from mlink.modules.video.codecs import CODECS
from mlink.modules.video.writer import VideoOptions, VideoWriter
from tests.support.recorded.edlio_reader import PYTHON as EDLIO

SHAPE = (120, 160, 3)
FRAMES = 30
NEAR_DB = 20
"""PSNR of a picture that is the one that was recorded; of its neighbours it is far below."""
LIMIT_S = 120
_READ_ALL = """
import sys, cv2, numpy
video = cv2.VideoCapture(sys.argv[1])
frames = []
while (read := video.read())[0]:
    frames.append(read[1])
count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
video.set(cv2.CAP_PROP_POS_FRAMES, 17)
ok, frame = video.read()
numpy.save(sys.argv[2], numpy.array(frames))
sys.exit(0 if ok and count == len(frames) and (frame == frames[17]).all() else 3)
"""
_NAPARI = """
import sys, numpy
from napari_video.napari_video import napari_get_reader
((video, *_),) = napari_get_reader(sys.argv[1])(sys.argv[1])
frames = numpy.array([numpy.asarray(video[at]) for at in range(len(video))])
numpy.save(sys.argv[2], frames[..., ::-1])
"""
_EDLIO = """
import sys, numpy
from edlio.dataio.video import load_data
frames = [frame.mat for frame in load_data([sys.argv[1]], [])]
numpy.save(sys.argv[2], numpy.array(frames))
"""


def picture(number: int) -> NDArray[np.uint8]:
    """Return a picture that differs much from the others."""
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    mat = np.stack([(x + 9 * number) % 160, (y * 2) % 240, (x + y + 5 * number) % 256], axis=2)
    mat = mat.astype(np.uint8)
    cv2.circle(mat, (5 * number, 60), 14, (255, 255, 255), -1)
    return mat


def record(path: Path, codec: str, container: str) -> None:
    """Write the video."""
    options = VideoOptions(codec=codec, container=container, quality=None)
    with VideoWriter(path, path.with_suffix(".tsync"), picture(0), options, framerate=30,
                     collection_id=bytes(16), generator="openers") as writer:  # fmt: skip
        for number in range(FRAMES):
            writer.write(picture(number), number * 33_333)


def by_script(python: str, script: str) -> Callable[[Path], NDArray[np.uint8] | None]:
    """Return an opener that runs a script with a Python."""

    def opened(video: Path) -> NDArray[np.uint8] | None:
        out = video.with_suffix(".npy")
        out.unlink(missing_ok=True)
        done = subprocess.run([python, "-c", script, video, out], capture_output=True,
                              timeout=LIMIT_S, check=False)  # fmt: skip
        return np.load(out) if done.returncode == 0 and out.exists() else None

    return opened


def by_ffmpeg(video: Path) -> NDArray[np.uint8] | None:
    """Open with the ffmpeg program."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", video, "-f", "rawvideo", "-pix_fmt", "bgr24", "-"],
        capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode or len(done.stdout) % np.prod(SHAPE):
        return None
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *SHAPE)


def by_vlc(video: Path) -> NDArray[np.uint8] | None:
    """Play with VLC, which does not run as root; its pictures are files."""
    folder = Path(tempfile.mkdtemp(prefix="vlc-", dir=video.parent))
    user = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    for each in (folder, video.parent):
        each.chmod(0o777)
    subprocess.run(
        [*user, "cvlc", "-q", "--vout", "dummy", "--no-audio", "--no-drop-late-frames",
         "--no-skip-frames", "--video-filter", "scene", "--scene-ratio", "1", "--scene-format",
         "png", "--scene-path", folder, video, "vlc://quit"],
        capture_output=True, timeout=LIMIT_S, check=False, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    frames = [cv2.imread(str(file)) for file in sorted(folder.glob("*.png"))]
    # The scene filter stretches small pictures of some pixel formats.
    sized = [f if f.shape == SHAPE else cv2.resize(f, SHAPE[1::-1]) for f in frames]
    return np.array(sized) if sized else None


def judged(frames: NDArray[np.uint8] | None, *, all_of_them: bool) -> str:
    """Return the word for what an opener has found."""
    if frames is None or frames.shape[1:] != SHAPE or not len(frames):
        return "–"
    if all_of_them and len(frames) != FRAMES:
        return f"{len(frames)} of {FRAMES}"
    recorded = np.array([picture(number) for number in range(FRAMES)])
    if not all_of_them:  # a player may show some twice, or leave some out
        nearest = [int(np.argmin([_error(frame, each) for each in recorded])) for frame in frames]
        recorded = recorded[nearest]
    errors = [_error(*pair) for pair in zip(frames, recorded, strict=True)]
    if not any(errors):
        return "exact"
    return "yes" if 10 * np.log10(255**2 / max(errors)) > NEAR_DB else "wrong pictures"


def _error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.mean((one.astype(float) - other) ** 2))


def main() -> None:
    """Record, open and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--napari", default="", help="Python of a venv with napari")
    napari = parser.parse_args().napari
    openers: dict[str, Callable[[Path], NDArray[np.uint8] | None] | None] = {
        "ffmpeg": by_ffmpeg if shutil.which("ffmpeg") else None,
        "OpenCV": by_script(sys.executable, _READ_ALL),
        "edlio": by_script(str(EDLIO), _EDLIO) if EDLIO.exists() else None,
        "VLC": by_vlc if shutil.which("cvlc") else None,
        "napari": by_script(napari, _NAPARI) if napari else None,
    }
    print("| codec | container |", " | ".join(openers), "|")
    print("|---" * (2 + len(openers)) + "|")
    for container, names in CONTAINER_CODECS.items():
        for codec in (codec for codec in CODECS if codec in names):
            with tempfile.TemporaryDirectory() as folder:
                options = VideoOptions(codec=codec, container=container)
                video = Path(folder) / f"video.{options.extension}"
                record(video, codec, container)
                found = [
                    "?" if opener is None else judged(opener(video), all_of_them=name != "VLC")
                    for name, opener in openers.items()
                ]
            print(f"| `{codec}` | {container} |", " | ".join(found), "|", flush=True)


if __name__ == "__main__":
    main()
