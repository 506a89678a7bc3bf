"""Sounds, commands with durations, WAV files, the null sink, and PortAudio where it is."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import mlink
from mlink.errors import BenchError, ModuleError
from mlink.modules.actions.waves import (
    RATE_HZ,
    Player,
    check_wav,
    read_wav,
    source_of,
    source_of_file,
)
from mlink.recording.care.verify import verify_recording
from tests.support.refusals import refusal_of

SCRIPT = """
import syntalos_mlink as syl
out = syl.get_output_port("control")
def send(kind, ms=0):
    command = syl.ControlCommand(kind)
    command.duration = ms
    out.submit(command)
def start():
    K = syl.ControlCommandKind
    syl.schedule_delayed_call(100, lambda: send(K.START))
    syl.schedule_delayed_call(300, lambda: send(K.STOP))
    syl.schedule_delayed_call(500, lambda: send(K.START, 50))
    syl.schedule_delayed_call(700, lambda: send(K.START))
    syl.schedule_delayed_call(800, lambda: send(K.PAUSE, 30))
"""
BENCH = """
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "control", data_type = "ControlCommand" }]
[modules.beep]
type = "audiosource"
device_id = "DEVICE"
inputs = { control-in = "loop.control" }
"""


def samples_of(wave_type: int, count: int = RATE_HZ, frequency: float = 1000.0) -> np.ndarray:
    return source_of(wave_type, frequency)(0, count)[:, 0]


@pytest.mark.parametrize("wave_type", range(13))
def test_each_sound_has_its_range_and_is_the_same_in_blocks(wave_type: int) -> None:
    source = source_of(wave_type, 440.0)
    whole = source(0, 10_000)
    assert np.array_equal(whole, np.concatenate([source(n, 100) for n in range(0, 10_000, 100)]))
    assert np.abs(whole).max() <= 1.0
    assert whole.dtype == np.float32
    assert np.any(whole) == (wave_type != 4)


def test_tones_have_their_frequency() -> None:
    for wave_type in (0, 1, 2, 3, 7):
        spectrum = np.abs(np.fft.rfft(samples_of(wave_type)))
        assert np.argmax(spectrum) == 1000
    assert np.allclose(samples_of(0, 48), np.sin(2 * np.pi * np.arange(48) / 48), atol=1e-6)
    triangle = samples_of(3, 48)
    assert (triangle[0], triangle.argmax(), triangle.argmin()) == (0.0, 12, 36)
    assert abs(samples_of(2).mean()) < 0.03


def test_noise_has_its_slope() -> None:
    def slope(wave_type: int) -> float:
        power = np.abs(np.fft.rfft(samples_of(wave_type, 1 << 17))) ** 2
        low, high = power[100:200].mean(), power[10_000:20_000].mean()
        return float(np.log10(high / low) / 2)

    wanted = {5: 0, 6: -1, 10: -2, 11: 1, 12: 2}
    for wave_type, exponent in wanted.items():
        assert slope(wave_type) == pytest.approx(exponent, abs=0.15), wave_type


def test_ticks_come_once_a_second() -> None:
    ticks = np.abs(samples_of(8, 3 * RATE_HZ)) > 0.5
    assert [bool(ticks[n * RATE_HZ : n * RATE_HZ + 960].any()) for n in range(3)] == [True] * 3
    assert not ticks[960:RATE_HZ].any()


def changes_of(player: Player, count: int, block: int = 100) -> list[tuple[int, bool]]:
    found = []
    for start in range(0, count, block):
        samples, changes = player.render(block)
        assert len(samples) == block
        found += [(start + at, sounds) for at, sounds in changes]
    return found


def test_a_duration_holds_for_so_many_samples_and_then_the_last_lasting_command_does() -> None:
    player = Player(source_of(1, 100.0), 0.5, 1000)
    player.command(play=True, duration_ms=250)
    assert changes_of(player, 500) == [(0, True), (250, False)]
    player.command(play=True)
    player.command(play=False, duration_ms=130)
    assert changes_of(player, 500) == [(130, True)]
    player.command(play=False)
    assert changes_of(player, 200) == [(0, False)]
    player.command(play=True, duration_ms=10_000)
    changes_of(player, 200)
    player.command(play=True, duration_ms=50)  # replaces the longer one
    assert changes_of(player, 200) == [(50, False)]


def test_a_file_plays_once_for_each_start_and_goes_on_after_a_pause() -> None:
    sound = np.arange(1, 31, dtype=np.float32)[:, None]
    player = Player(source_of_file(sound), 1.0, 1000, 30)
    player.command(play=True)
    samples, changes = player.render(40)
    assert samples[:, 0].tolist() == [*range(1, 31), *[0] * 10]
    assert changes == [(0, True), (30, False)]
    player.command(play=True)
    assert player.render(5)[0][:, 0].tolist() == [1, 2, 3, 4, 5]
    player.command(play=False, keeps_place=True)
    player.render(7)
    player.command(play=True)
    assert player.render(2)[0][:, 0].tolist() == [6, 7]
    player.command(play=False)
    player.command(play=True)
    assert player.render(2)[0][:, 0].tolist() == [1, 2]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_all_widths(tmp_path: Path, width: int) -> None:
    values = np.array([[0.0, 0.5], [-1.0, -0.25]])
    whole = np.round(values * (1 << (8 * width - 1))).astype(np.int64) + (128 if width == 1 else 0)
    data = b"".join(int(n).to_bytes(width, "little", signed=width > 1) for n in whole.ravel())
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((2, width, 8000, 0, "NONE", ""))
        file.writeframes(data)
    samples, rate = read_wav(tmp_path / "x.wav")
    assert rate == 8000
    assert np.allclose(samples, values)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"x" * 1000, b"RIFF\x04\x00\x00\x00WAVE"])
def test_what_is_no_wav_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    for read in (check_wav, read_wav):
        with pytest.raises(ModuleError, match="cannot be played"):
            read(tmp_path / "x.wav")


def write_bench(folder: Path, device: str = "null") -> None:
    (folder / "loop.py").write_text(SCRIPT)
    (folder / "bench.toml").write_text(BENCH.replace("DEVICE", device))


def test_a_run_in_virtual_time_records_when_it_sounded(tmp_path: Path) -> None:
    write_bench(tmp_path)
    done = mlink.run(tmp_path, duration_s=1, out=tmp_path / "rec", time="virtual", seed=1)
    assert done.success
    assert done.reports["beep"]["latency_ms"] == 10.0
    assert verify_recording(done.recording_dir).ok
    with mlink.open_recording(done.recording_dir) as recording:
        rows = [tuple(row) for row in recording.table().rows]
    times = [int(time) / 1000 for time, _ in rows]
    assert [what for _, what in rows] == ["begins", "ends"] * 3 + ["begins"]
    for found, wanted in zip(times, [100, 300, 500, 550, 700, 800, 830], strict=True):
        assert wanted <= found <= wanted + 10.1
    assert times[3] - times[2] == 50
    assert times[6] - times[5] == 30


def test_virtual_time_needs_the_null_device(tmp_path: Path) -> None:
    write_bench(tmp_path, "")
    with pytest.raises(BenchError, match='device_id = "null" does not'):
        mlink.run(tmp_path, duration_s=1, record=False, time="virtual")


def has_portaudio() -> bool:
    done = subprocess.run([sys.executable, "-c", "import sounddevice"], capture_output=True)
    return done.returncode == 0


@pytest.mark.skipif(not has_portaudio(), reason="needs the extra `audio` and libportaudio2")
def test_portaudio_plays_into_a_device_of_alsa_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("pcm.!default { type null }\nctl.!default { type null }\n")
    monkeypatch.setitem(os.environ, "ALSA_CONFIG_PATH", str(config))
    write_bench(tmp_path, "")
    done = mlink.run(tmp_path, duration_s=1.5, out=tmp_path / "rec", check=False)
    assert done.success, done.failures
    assert done.reports["beep"]["latency_ms"] > 0
    with mlink.open_recording(done.recording_dir) as recording:
        assert "begins" in [row[1] for row in recording.table().rows]
    write_bench(tmp_path, "no such thing")
    done = mlink.run(tmp_path, duration_s=1, record=False, check=False)
    assert "the sound device 'no such thing' cannot be opened" in done.failures[0].message
    assert "default" in done.failures[0].remedy


def test_without_portaudio_the_remedy_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(tmp_path))
    write_bench(tmp_path, "")
    done = mlink.run(tmp_path, duration_s=1, record=False, check=False)
    assert "PortAudio library not found" in done.failures[0].message
    assert "libportaudio2" in done.failures[0].remedy


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("wave_type = 13", "wave_type"),
        ("volume = 1.5", "volume"),
        ("frequency = 0.0", "frequency"),
        ('file = "no.wav"', "No such file"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: str, words: str) -> None:
    assert words in refusal_of(tmp_path, "audiosource", settings)
