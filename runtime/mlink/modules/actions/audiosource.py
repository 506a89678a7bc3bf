"""The `audiosource` module: plays a sound as ControlCommands ask, and records when it sounded."""

from __future__ import annotations

from typing import Final

from mlink.module import Module
from mlink.modules.actions.catalog import NULL_DEVICE, AudioSettings
from mlink.modules.actions.sinks import NullSink, PortAudioSink
from mlink.modules.actions.waves import RATE_HZ, Player, read_wav, source_of, source_of_file
from mlink.modules.data.event_table import EventTable
from mlink.types import ControlCommand, ControlCommandKind

_FILE: Final = "sounds.csv"
_HEADER: Final = ("Time [µs]", "Sound")
_PERIOD_USEC: Final = 100_000


class AudioModule(Module[AudioSettings]):
    """Plays or pauses at commands; durations are exact in samples.

    START plays, all other kinds but UNKNOWN and CUSTOM pause. The rows that it records have the
    time at which the sound was to leave the device, by the latency that PortAudio states.
    """

    _sink: NullSink | PortAudioSink | None = None
    _table: EventTable | None = None

    def prepare(self) -> None:
        """Make the sound and open the device.

        Raises:
            ModuleError: The file or the device cannot be opened.
        """
        settings = self.settings
        rate, length, channels = RATE_HZ, 0, 1
        if settings.file:
            samples, rate = read_wav(self.context.run_info.bench_dir / settings.file)
            length, channels = samples.shape
            source = source_of_file(samples)
        else:
            source = source_of(settings.wave_type, settings.frequency)
        playing = settings.play_immediately
        self._player = Player(source, settings.volume, rate, length, playing=playing)
        if settings.device_id == NULL_DEVICE:
            self._sink = NullSink(self.context, self._player, rate, self._note)
        else:
            self._sink = PortAudioSink(
                self.context, self._player, rate, channels, settings.device_id, self._note
            )
        self.context.inputs["control-in"].on_item = self._on_command

    def start(self) -> None:
        """Begin to play, or to wait for START."""
        assert self._sink is not None
        dataset = self.context.create_dataset()
        if dataset is not None:
            dataset.set_attribute("latency_usec", round(self._sink.latency_s * 1e6))
            dataset.set_attribute("timestamp_source", "sound device's stated latency")
        self._table = EventTable(dataset, _FILE, _HEADER, "When the sound began and ended")
        self._sink.start()

    def run(self) -> None:
        """Carry commands out, and write when it sounded."""
        while self.context.running:
            self.context.serve(_PERIOD_USEC)
            if self._table is not None:
                self._table.write()
            self.context.set_status("plays" if self._player.on else "silent")

    def stop(self) -> None:
        """Play no more; report the latency."""
        assert self._sink is not None
        self._sink.close()
        self.context.report("latency_ms", round(self._sink.latency_s * 1000, 2))
        if self._sink.underruns:
            self.context.report("underruns", self._sink.underruns)
            self.context.note_loss(
                f"the sound was interrupted {self._sink.underruns} times: the computer was late",
                "Close other programs, or allow real-time priority (mlink doctor).",
            )

    def close(self) -> None:
        """Close device and file."""
        if self._sink is not None:
            self._sink.close()
        if self._table is not None:
            self._table.close()

    def _on_command(self, command: ControlCommand) -> None:
        kind = command.kind
        if kind in (ControlCommandKind.UNKNOWN, ControlCommandKind.CUSTOM):
            self.log.warning("a command of kind %s is for nothing here", kind.name)
            return
        self._player.command(
            play=kind is ControlCommandKind.START,
            keeps_place=kind is ControlCommandKind.PAUSE,
            duration_ms=command.duration,
        )

    def _note(self, time_usec: int, sounds: bool) -> None:
        assert self._table is not None
        self._table.add(str(time_usec), "begins" if sounds else "ends")
