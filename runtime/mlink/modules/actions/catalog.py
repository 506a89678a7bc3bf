"""Module types `runcmd`, `hwline-userctl` and `audiosource`, with ids and settings of Syntalos."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated, Final

import msgspec

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType

NULL_DEVICE: Final = "null"
"""`device_id` that plays into nothing, and keeps the times of what it plays."""
AUDIO_REMEDY: Final = "pip install 'mlink-hil[audio]' and sudo apt-get install libportaudio2"


class RunCmdSettings(ModuleSettings):
    """Settings of a `runcmd` module."""

    executable: str
    """The program: a name on the search path, or a path from the bench's folder."""
    parameters: str = ""
    """Its arguments, separated by blanks; double quotes and backslashes as in a shell."""
    run_on_host: bool = False
    """For compatibility with Syntalos in a sandbox; has no effect."""

    def check(self, bench_dir: Path) -> list[str]:
        """Find what can be seen to be wrong before a run.

        Returns:
            Each problem as "key: what".
        """
        problems = []
        if not self.executable.strip() or "\0" in self.executable + self.parameters:
            problems.append("executable: name the program to start")
        elif self.program(bench_dir) is None:
            problems.append(f"executable: there is no program '{self.executable}'")
        try:
            self.arguments()
        except ValueError as error:
            problems.append(f"parameters: {error}")
        return problems

    def program(self, bench_dir: Path) -> str | None:
        """Return the path of the program; None if there is none that can be started."""
        name = self.executable.strip()
        return shutil.which(str(bench_dir / name) if "/" in name else name)

    def arguments(self) -> list[str]:
        """Return the arguments.

        Raises:
            ValueError: A quote is not closed.
        """
        words = shlex.shlex(self.parameters, posix=True, punctuation_chars="")
        words.whitespace_split, words.commenters, words.quotes = True, "", '"'
        return list(words)


class OutputControl(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One line that a user can set."""

    pin_id: Annotated[int, msgspec.Meta(ge=0, le=255)]
    """Number of the line on its board."""
    is_analog: bool = False
    """Whether it has a PWM value instead of low and high."""
    value: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Last value of an analog line in a project; has no effect before it is sent again."""


class InputView(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One line that is shown."""

    pin_id: Annotated[int, msgspec.Meta(ge=0, le=255)]
    """Number of the line on its board."""
    is_analog: bool = False
    """Whether it is an analog input."""


class UserControlSettings(ModuleSettings):
    """Settings of a `hwline-userctl` module."""

    output_ctls: list[OutputControl] = []
    """Lines that `mlink line` may set while the run lasts."""
    input_views: list[InputView] = []
    """Lines whose newest values the live view shows."""


class AudioSettings(ModuleSettings):
    """Settings of an `audiosource` module."""

    play_immediately: bool = False
    """Play from the start; if false, from the first START on."""
    device_id: str = ""
    """Name of a sound device, or a part of it; "" for the usual one, "null" for none."""
    wave_type: Annotated[int, msgspec.Meta(ge=0, le=12)] = 0
    """0 sine, 1 square, 2 saw, 3 triangle, 4 silence, 5 white noise, 6 pink noise, 7 sine, 8 ticks
    (one click a second), 9 white noise, 10 red, 11 blue, 12 violet noise."""
    frequency: Annotated[float, msgspec.Meta(gt=0, le=24_000)] = 100.0
    """Of a tone, in Hz."""
    volume: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.8
    """Loudness, as a part of the largest amplitude."""
    file: str = ""
    """A WAV file to play instead, once for each START; a path from the bench's folder."""

    def check(self, bench_dir: Path) -> list[str]:
        """Find what can be seen to be wrong before a run.

        Returns:
            Each problem as "key: what".
        """
        if not self.file:
            return []
        from mlink.errors import ModuleError
        from mlink.modules.actions.waves import check_wav

        try:
            check_wav(bench_dir / self.file)
        except ModuleError as error:
            return [f"file: {error.message}"]
        return []


def _real_program(_settings: RunCmdSettings, _device: str) -> str:
    return "starts a program, for which virtual time does not exist"


def _real_sound(settings: AudioSettings, _device: str) -> str:
    if settings.device_id == NULL_DEVICE:
        return ""
    return f'plays through a sound device in real time; device_id = "{NULL_DEVICE}" does not'


runcmd = ModuleType(
    id="runcmd",
    title="Run Command",
    summary="Starts a program with the run, and ends it with the run.",
    category=Category.SCRIPT,
    settings=RunCmdSettings,
    implementation="mlink.modules.actions.runcmd:RunCmdModule",
    virtual_time=_real_program,
)

hwline_userctl = ModuleType(
    id="hwline-userctl",
    title="Line Control by Hand",
    summary="Sets lines of a board as `mlink line` commands, and shows others.",
    category=Category.GENERATOR,
    settings=UserControlSettings,
    implementation="mlink.modules.actions.userctl:UserControlModule",
    inputs=(PortSpec("hwline-in", DataType.LineReading, "Line Readings"),),
    outputs=(PortSpec("hwline-out", DataType.LineCommand, "Line Commands"),),
    aliases=("firmata-userctl",),
    virtual_time=True,
)

audiosource = ModuleType(
    id="audiosource",
    title="Audio Source",
    summary="Plays tones, noise, clicks or a WAV file as ControlCommands ask (extra `audio`).",
    category=Category.DEVICE,
    settings=AudioSettings,
    implementation="mlink.modules.actions.audiosource:AudioModule",
    inputs=(PortSpec("control-in", DataType.ControlCommand, "Control"),),
    virtual_time=_real_sound,
)
