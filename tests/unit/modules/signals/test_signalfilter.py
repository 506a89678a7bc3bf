"""The filter against SciPy, sample by sample; what it refuses; its names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

import mlink
from mlink.errors import ModuleError
from mlink.module import ModuleType
from mlink.modules.signals.catalog import (
    SignalFilterSettings,
    StageSettings,
    selected_channels,
    signalfilter,
)
from mlink.modules.signals.design import sections
from mlink.modules.signals.signalfilter import SignalFilterModule
from mlink.types import SignalBlock, SignalBlockF32, SignalBlockI32, SignalBlockU16
from tests.support.fake_context import FakeContext
from tests.support.refusals import refusal_of

RATE = 2000.0
BUTTER = signal.butter(4, 100, "high", fs=RATE, output="sos")


def filter_of(tmp_path: Path, **settings: Any) -> tuple[SignalFilterModule, FakeContext]:
    stages = settings.pop("stages", [{"family": 0, "response": 1, "order": 4, "freq1": 100.0}])
    metadata = settings.pop(
        "metadata", {"sample_rate": RATE, "signal_names": ["a", "b", "c"], "src_mod_name": "src"}
    )
    given = SignalFilterSettings(stages=[StageSettings(**each) for each in stages], **settings)
    kind: ModuleType = signalfilter
    context = FakeContext(kind, given, tmp_path, name="flt")
    context.inputs["signals-in"].metadata.update(metadata)
    module = SignalFilterModule(context)
    module.prepare()
    module.start()
    return module, context


def send(
    context: FakeContext,
    samples: np.ndarray,
    kind: type[SignalBlock] = SignalBlockF32,
    size: int = 7,
) -> np.ndarray:
    for start in range(0, len(samples), size):
        block = kind()
        block.data = samples[start : start + size]
        block.timestamps = np.arange(start, start + len(block.data))
        context.inputs["signals-in"].on_item(block)
    items = context.outputs["signals-out"].items
    times = np.concatenate([item.timestamps for item in items])
    assert times.tolist() == list(range(len(samples)))
    return np.vstack([item.data for item in items])


def noise(rows: int = 3000, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)


def test_a_butterworth_is_that_of_scipy_from_the_first_sample_on(tmp_path: Path) -> None:
    _, context = filter_of(tmp_path)
    samples = noise()
    wanted = signal.sosfilt(BUTTER, samples.astype(np.float64), axis=0)
    assert np.allclose(send(context, samples), wanted, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 64, 3000])
def test_sections_of_the_user_go_on_from_block_to_block(tmp_path: Path, size: int) -> None:
    given = (signal.ellip(5, 1, 40, 0.2, output="sos") * 2.0).ravel().tolist()  # a0 is 2
    _, context = filter_of(tmp_path, stages=[{"family": 4, "sos": given}], metadata={})
    wanted = signal.sosfilt(signal.ellip(5, 1, 40, 0.2, output="sos"), noise(), axis=0)
    assert np.allclose(send(context, noise(), size=size), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("stage", "wanted"),
    [
        ({"response": 0, "order": 3, "freq1": 50.0}, signal.butter(3, 50, fs=RATE, output="sos")),
        (
            {"response": 2, "order": 2, "freq1": 100.0, "freq2": 20.0},
            signal.butter(2, [90, 110], "bandpass", fs=RATE, output="sos"),
        ),
        (
            {"family": 1, "response": 3, "freq1": 50.0, "freq2": 4.0, "ripple_db": 0.5},
            signal.cheby1(2, 0.5, [48, 52], "bandstop", fs=RATE, output="sos"),
        ),
        (
            {"family": 2, "response": 0, "order": 5, "freq1": 200.0},
            signal.cheby2(5, 60, 200, "low", fs=RATE, output="sos"),
        ),
        ({"family": 3, "freq1": 50.0}, signal.tf2sos(*signal.iirnotch(50, 20, fs=RATE))),
        ({}, signal.butter(2, 300, "high", fs=RATE, output="sos")),
    ],
)
def test_stages_are_designed_by_scipy(stage: dict[str, Any], wanted: np.ndarray) -> None:
    assert np.allclose(sections([StageSettings(**stage)], RATE), wanted)


def test_stages_follow_each_other(tmp_path: Path) -> None:
    stages = [{"freq1": 100.0, "order": 4}, {"family": 3, "freq1": 50.0}]
    _, context = filter_of(tmp_path, stages=stages)
    both = signal.sosfilt(BUTTER, noise().astype(np.float64), axis=0)
    both = signal.sosfilt(signal.tf2sos(*signal.iirnotch(50, 20, fs=RATE)), both, axis=0)
    assert np.allclose(send(context, noise()), both, atol=1e-6)


def test_only_selected_channels_are_filtered_and_named(tmp_path: Path) -> None:
    _, context = filter_of(tmp_path, use_all_channels=False, channel_selection="1, 2-2, 9")
    made = send(context, noise())
    assert np.array_equal(made[:, 0], noise()[:, 0])
    wanted = signal.sosfilt(BUTTER, noise().astype(np.float64), axis=0)
    assert np.allclose(made[:, 1:], wanted[:, 1:], atol=1e-6)
    metadata = context.outputs["signals-out"].metadata
    assert metadata["signal_names"] == ["a", "b_flt", "c_flt"]
    assert metadata["data_name_proposal"] == "src-flt/data-filtered"
    assert metadata["sample_rate"] == RATE


@pytest.mark.parametrize(
    ("given", "made"),
    [("a/b", "a-flt/b-filtered"), ("a", "a-flt"), ("", "src-flt/data-filtered")],
)
def test_proposals_of_names(tmp_path: Path, given: str, made: str) -> None:
    metadata = {"sample_rate": RATE, "data_name_proposal": given, "src_mod_name": "src"}
    _, context = filter_of(tmp_path, metadata=metadata)
    assert context.outputs["signals-out"].metadata["data_name_proposal"] == made


def test_nothing_selected_passes_unfiltered_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, context = filter_of(tmp_path, use_all_channels=False)
    assert np.array_equal(send(context, noise()), noise())
    assert "no channel is selected" in caplog.text


def test_integers_are_rounded_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    module, context = filter_of(tmp_path, input_type="SignalBlockI32")
    samples = np.round(noise() * 1000).astype(np.int32)
    wanted = np.rint(signal.sosfilt(BUTTER, samples.astype(np.float64), axis=0))
    made = send(context, samples, SignalBlockI32)
    assert made.dtype == np.int32
    assert np.abs(made - wanted).max() <= 1
    module.stop()
    assert context.reports == {}

    module, context = filter_of(tmp_path, input_type="SignalBlockU16")
    samples = np.full((100, 3), 1000, np.uint16)
    samples[50:] = 0
    wanted = np.rint(signal.sosfilt(BUTTER, samples.astype(np.float64), axis=0))
    made = send(context, samples, SignalBlockU16)
    assert made.dtype == np.uint16
    module.stop()
    assert context.reports["samples_clamped"] == np.count_nonzero(wanted < 0)
    assert "SignalBlockF32" in context.hints[0]


def test_a_sample_that_is_no_number_does_not_spoil_the_later_ones(tmp_path: Path) -> None:
    module, context = filter_of(tmp_path)
    samples = noise()
    samples[100, 1] = np.nan
    samples[101, 1] = np.inf
    held = noise()
    held[100:102, 1] = held[99, 1]
    wanted = signal.sosfilt(BUTTER, held.astype(np.float64), axis=0)
    wanted[100:102, 1] = np.nan
    assert np.allclose(send(context, samples), wanted, atol=1e-6, equal_nan=True)
    module.stop()
    assert context.reports["samples_not_finite"] == 2


def test_lost_blocks_of_the_input_are_lost_of_the_output(tmp_path: Path) -> None:
    _, context = filter_of(tmp_path)
    context.inputs["signals-in"].on_gap(3)
    assert context.outputs["signals-out"].lost == 3


@pytest.mark.parametrize(
    ("stage", "rate", "words"),
    [
        ({"freq1": 1000.0}, RATE, "must be below half the sample rate of 2000 Hz"),
        ({"response": 2, "freq1": 995.0, "freq2": 20.0}, RATE, "frequency of 1005 Hz"),
        ({}, 0, "has no `sample_rate`"),
    ],
)
def test_what_the_stream_does_not_allow_is_refused(
    tmp_path: Path, stage: dict[str, Any], rate: float, words: str
) -> None:
    with pytest.raises(ModuleError, match=words):
        filter_of(tmp_path, stages=[stage], metadata={"sample_rate": rate})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("stages = [{ family = 4, sos = [1, 2, 3] }]", "needs six for each section"),
        ("stages = [{ family = 4, sos = [1, 2, 3, 0, 5, 6] }]", "each a0 other than 0"),
        ("stages = [{ freq1 = -1.0 }]", "frequencies must be above 0"),
        ("stages = [{ response = 2, freq1 = 5.0 , freq2 = 20.0 }]", "-5 Hz to 15 Hz"),
        ("stages = [{ order = 0 }]", ">= 1"),
        ("stages = [{ family = 3, q_factor = 0.0 }]", "q_factor must be above 0"),
        ("stages = [{ famly = 3 }]", "famly"),
        ('channel_selection = "0-x"', "is no channel"),
        ('channel_selection = "9-3"', "no range"),
        ('input_type = "Frame"', "input_type"),
    ],
)
def test_wrong_settings_are_refused_before_the_run(
    tmp_path: Path, settings: str, words: str
) -> None:
    assert words in refusal_of(tmp_path, "signalfilter", settings)


def test_without_scipy_the_check_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert SignalFilterSettings().check(tmp_path) == []
    (problem,) = SignalFilterSettings(stages=[StageSettings()]).check(tmp_path)
    assert "pip install 'mlink-hil[filter]'" in problem


def test_selections() -> None:
    assert selected_channels("0-3, 20, 2") == [0, 1, 2, 3, 20]
    assert selected_channels(" ,") == []


def test_an_unstable_filter_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filter_of(tmp_path, stages=[{"family": 4, "sos": [1.0, 0.0, 0.0, 1.0, -2.5, 1.0]}])
    assert "not stable" in caplog.text


def test_a_run_records_what_sosfilt_makes_of_its_input(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("""
[modules.src]
type = "devel.datasource"
fps = 50
[modules.hp]
type = "signalfilter"
stages = [{ family = 0, response = 1, order = 4, freq1 = 100.0 }]
inputs = { signals-in = "src.float-out" }
[modules.raw]
type = "jsonwriter"
inputs = { f32sig-in = "src.float-out" }
use_name_from_source = false
data_name = "raw"
[modules.filtered]
type = "jsonwriter"
inputs = { f32sig-in = "hp.signals-out" }
use_name_from_source = false
data_name = "filtered"
""")
    done = mlink.run(tmp_path, duration_s=2, out=tmp_path / "rec", time="virtual", seed=1)
    with mlink.open_recording(done.recording_dir) as recording:
        raw, filtered = recording.signals("raw"), recording.signals("filtered")
    assert filtered.names == ["Low_flt", "High_flt", "Low+High_flt"]
    assert np.array_equal(raw.timestamps, filtered.timestamps)
    wanted = signal.sosfilt(BUTTER, raw.values.astype(np.float64), axis=0)
    assert len(wanted) > 3000
    assert np.allclose(filtered.values, wanted, atol=1e-5)
