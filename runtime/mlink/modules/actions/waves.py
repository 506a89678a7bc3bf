"""What an `audiosource` plays: tones, noise, clicks and WAV files, as blocks of samples."""

from __future__ import annotations

import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError

Samples = NDArray[np.float32]
RATE_HZ: Final = 48_000
_TICK_S: Final = 0.02
_NOISE_SAMPLES: Final = 1 << 20
"""Length of the noise that repeats: 22 s."""
_NOISES: Final = {5: 0.0, 6: -0.5, 9: 0.0, 10: -1.0, 11: 0.5, 12: 1.0}
"""Type of noise → exponent of its amplitude over frequency."""
_TICKS: Final = 8
_SILENCE: Final = 4
_MOST_WAV_BYTES: Final = 500_000_000

Source = Callable[[int, int], Samples]
"""Returns `count` samples from number `first` on, of shape (count, channels)."""


def source_of(wave_type: int, frequency_hz: float) -> Source:
    """Return the endless sound of a wave type, with one channel and values from −1 to 1."""
    if wave_type in _NOISES:
        noise = _noise(_NOISES[wave_type])
        return lambda first, count: noise[np.arange(first, first + count) % len(noise), None]
    shape = _SHAPES[wave_type]

    def tone(first: int, count: int) -> Samples:
        # from the number of the sample: the phase does not drift
        numbers = np.arange(first, first + count, dtype=np.float64)
        hertz = 1.0 if wave_type == _TICKS else frequency_hz
        turns = numbers * (hertz / RATE_HZ)
        made = shape(turns % 1.0)
        if wave_type == _TICKS:
            seconds = numbers % RATE_HZ / RATE_HZ
            made = np.where(seconds < _TICK_S, np.sin(2 * np.pi * frequency_hz * seconds), 0.0)
        return made.astype(np.float32)[:, None]

    return tone


def source_of_file(samples: Samples) -> Source:
    """Return the sound of a file."""
    return lambda first, count: samples[first : first + count]


_SHAPES: Final[dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    0: lambda phase: np.sin(2 * np.pi * phase),
    1: lambda phase: np.where(phase < 0.5, 1.0, -1.0),
    2: lambda phase: np.where(phase < 0.5, 2 * phase, 2 * phase - 2),
    3: lambda phase: 2 * np.abs(2 * ((phase + 0.25) % 1.0) - 1) * -1 + 1,
    _SILENCE: np.zeros_like,
    7: lambda phase: np.sin(2 * np.pi * phase),
    _TICKS: np.zeros_like,
}


def _noise(exponent: float) -> Samples:
    """Return noise whose amplitude goes with this power of the frequency; its peak is 1."""
    spectrum = np.fft.rfft(np.random.default_rng(0).uniform(-1, 1, _NOISE_SAMPLES))
    weights = np.arange(len(spectrum), dtype=np.float64)
    weights[0] = 1.0
    shaped = np.fft.irfft(spectrum * weights**exponent, _NOISE_SAMPLES)
    return np.asarray(shaped / np.abs(shaped).max(), np.float32)


def check_wav(path: Path) -> None:
    """Check a WAV file by its header, without reading its samples.

    Raises:
        ModuleError: As `read_wav`.
    """
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[wave.Wave_read]:
    remedy = "Give a WAV file of 8, 16, 24 or 32 bits PCM."
    try:
        if path.stat().st_size > _MOST_WAV_BYTES:
            raise ModuleError(f"{path} has more than 500 MB", remedy=remedy)
        with wave.open(str(path)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            if width not in (1, 2, 3, 4) or channels < 1 or not 1000 <= rate <= 400_000:
                what = f"{8 * width} bits, {channels} channels, {rate} Hz"
                raise ModuleError(f"{path} cannot be played: {what}", remedy=remedy)
            yield file
    except (OSError, EOFError, wave.Error) as error:
        text = error.strerror if isinstance(error, OSError) else str(error) or "it is cut off"
        raise ModuleError(f"{path} cannot be played: {text}", remedy=remedy) from error


def read_wav(path: Path) -> tuple[Samples, int]:
    """Return the samples of a WAV file, of shape (N, channels) from −1 to 1, and its rate in Hz.

    Raises:
        ModuleError: It is not there, or no WAV file of 8, 16, 24 or 32 bits that fits into memory.
    """
    with _opened(path) as file:
        width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
        data = file.readframes(file.getnframes())
    data = data[: len(data) // (width * channels) * (width * channels)]
    if width == 1:
        values = np.frombuffer(data, np.uint8).astype(np.float64) / 128 - 1
    else:
        padded = np.zeros((len(data) // width, 4), np.uint8)
        padded[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        values = padded.view("<i4")[:, 0] / float(1 << 31)
    return values.astype(np.float32).reshape(-1, channels), rate


class Player:
    """What is played at each moment: the sound or silence, switched by commands.

    A command with a duration holds for so many samples; then the last one without a duration does
    again. `render` is called by the thread of the sound device, the others by the module's.

    Args:
        source: The sound.
        volume: 0 to 1.
        rate_hz: Sample rate.
        length: Samples that it has; 0 for an endless one. A START plays it from its beginning.
        playing: Whether it plays from the first sample on.
    """

    def __init__(
        self, source: Source, volume: float, rate_hz: int, length: int = 0, *, playing: bool = False
    ) -> None:
        self._source, self._volume, self._rate_hz = source, volume, rate_hz
        self._length = length
        self._base = self._on = playing
        self._left = 0
        """Samples until the base state returns; 0 for ever."""
        self._place = 0
        """Number of the next sample of the sound."""
        self._silent = True
        self._kept = False
        self._changing = threading.Lock()
        channels = source(0, 1).shape[1]
        self._nothing: Callable[[int], Samples] = lambda count: np.zeros(
            (count, channels), np.float32
        )

    @property
    def on(self) -> bool:
        """Whether it is switched on, by commands or from the start; its sound may have ended."""
        return self._on

    def command(self, *, play: bool, keeps_place: bool = False, duration_ms: int = 0) -> None:
        """Play or pause.

        Args:
            play: Whether to play. A sound with an end begins again, unless it was paused.
            keeps_place: Of a pause: whether the sound goes on where it was.
            duration_ms: How long, in ms; 0 until the next command.
        """
        with self._changing:
            if play and not self._kept:
                self._place = 0 if self._length else self._place
            self._on, self._kept = play, keeps_place and not play
            self._left = max(0, round(duration_ms * self._rate_hz / 1000))
            if duration_ms <= 0:
                self._base = play

    def render(self, count: int) -> tuple[Samples, list[tuple[int, bool]]]:
        """Return the next samples, and where it began (True) or ended to sound in them."""
        with self._changing:
            return self._rendered(count)

    def _rendered(self, count: int) -> tuple[Samples, list[tuple[int, bool]]]:
        parts: list[Samples] = []
        changes: list[tuple[int, bool]] = []
        made = 0
        while made < count:
            step = count - made
            if self._left:
                step = min(step, self._left)
            sounds = self._on and not (self._length and self._place >= self._length)
            if sounds and self._length:
                step = min(step, self._length - self._place)
            if sounds == self._silent:
                changes.append((made, sounds))
                self._silent = not sounds
            found = self._source(self._place, step) if sounds else self._nothing(step)
            parts.append(found * np.float32(self._volume))
            if sounds:
                self._place += step
            made += step
            if self._left:
                self._left -= step
                if not self._left:
                    self._on = self._base
        return np.concatenate(parts), changes
