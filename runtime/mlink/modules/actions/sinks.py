"""Where the sound of an `audiosource` goes: a device of PortAudio, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mlink.errors import ModuleError
from mlink.module import ModuleContext
from mlink.modules.actions.catalog import AUDIO_REMEDY
from mlink.modules.actions.waves import Player
from mlink.modules.devel.ticks import Ticks

Note = Callable[[int, bool], object]
"""Called with a master time in µs, and whether the sound begins (True) or ends then."""
_BLOCK_S: Final = 0.01
_MOST_NAMES: Final = 20


class NullSink:
    """Plays into nothing, in blocks of 10 ms of the master timer; in virtual time as well.

    Args:
        context: The module's context.
        player: What is played.
        rate_hz: Sample rate.
        note: Receives when it began and ended to sound.
    """

    latency_s = _BLOCK_S
    underruns = 0

    def __init__(
        self, context: ModuleContext[Any], player: Player, rate_hz: int, note: Note
    ) -> None:
        self._context, self._player = context, player
        self._rate_hz, self._note = rate_hz, note
        self._ticks: Ticks | None = None

    def start(self) -> None:
        """Begin to play."""
        self._ticks = Ticks(self._context, round(_BLOCK_S * 1e9), self._play)

    def close(self) -> None:
        """Play no more."""
        if self._ticks is not None:
            self._ticks.close()

    def _play(self, number: int) -> None:
        # from sample to sample, since a rate need not be a multiple of the blocks
        first, last = (round(at * _BLOCK_S * self._rate_hz) for at in (number, number + 1))
        _, changes = self._player.render(last - first)
        for sample, sounds in changes:
            self._note(round((first + sample) / self._rate_hz * 1e6), sounds)


class PortAudioSink:
    """Plays through a sound device.

    Args:
        context: The module's context.
        player: What is played.
        rate_hz: Sample rate.
        channels: Channels of the sound; one is played on two.
        device: Name of the device or a part of it; "" for the usual one.
        note: Receives when it began and ended to sound.

    Raises:
        ModuleError: PortAudio is missing, or the device cannot be opened.
    """

    def __init__(
        self,
        context: ModuleContext[Any],
        player: Player,
        rate_hz: int,
        channels: int,
        device: str,
        note: Note,
    ) -> None:
        self.underruns = 0
        self._context, self._player = context, player
        self._rate_hz, self._note = rate_hz, note
        self._closing = False
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the library, without PortAudio
            text = f"sound needs PortAudio: {error}"
            raise ModuleError(text, remedy=AUDIO_REMEDY) from error
        try:
            self._stream = sounddevice.OutputStream(
                samplerate=rate_hz,
                channels=max(2, channels),
                dtype="float32",
                latency="low",
                device=device or None,
                callback=self._fill,
                finished_callback=self._on_end,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            named = f"the sound device '{device}'" if device else "the usual sound device"
            raise ModuleError(
                f"{named} cannot be opened: {error}", remedy=_devices(sounddevice)
            ) from error
        self.latency_s = float(self._stream.latency)

    def start(self) -> None:
        """Begin to play."""
        self._stream.start()

    def close(self) -> None:
        """Play no more."""
        self._closing = True
        self._stream.close()

    def _fill(self, block: Any, count: int, times: Any, status: Any) -> None:
        """Write the next samples; called by PortAudio's thread."""
        now_usec = self._context.clock.now_usec()
        self.underruns += bool(status.output_underflow)
        block[:], changes = self._player.render(count)
        ahead_s = float(times.outputBufferDacTime - times.currentTime)
        if not 0 < ahead_s < 10:  # some back ends do not know it
            ahead_s = self.latency_s
        for sample, sounds in changes:
            self._note(now_usec + round((ahead_s + sample / self._rate_hz) * 1e6), sounds)

    def _on_end(self) -> None:
        if not self._closing:
            remedy = "Look whether it is still plugged in."
            self._context.fail(ModuleError("the sound device plays no more", remedy=remedy))


def _devices(sounddevice: Any) -> str:
    """Return a remedy with the names of the devices that can play."""
    names = [each["name"] for each in sounddevice.query_devices() if each["max_output_channels"]]
    if not names:
        return 'This machine has no sound device; device_id = "null" plays into nothing.'
    return f"It has: {', '.join(names[:_MOST_NAMES])}. Set `device_id` to one of them."
