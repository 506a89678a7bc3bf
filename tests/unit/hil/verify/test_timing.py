"""Measurements of verify-timing, and their plots."""

from __future__ import annotations

from mlink_hil.verify.plots import draw_histogram, draw_over_time, write_plots
from mlink_hil.verify.timing import Samples


def test_the_summary_of_samples_has_their_percentiles():
    samples = Samples("round trip")
    for n in range(101):
        samples.add(float(n), n * 1000)
    assert samples.summary() == {
        "count": 101,
        "min": 0,
        "p50": 50,
        "p95": 95,
        "p99": 99,
        "max": 100,
    }
    assert Samples("none").summary() == {"count": 0}


def test_a_long_run_has_a_drift():
    samples = Samples("light to frame")
    for second in range(61):
        samples.add(100 + second, second * 1_000_000)
    assert samples.summary()["drift_per_minute"] == 60


def test_plots_are_pictures(tmp_path):
    samples = Samples("light to frame, cam")
    for n in range(50):
        samples.add(1000 + n % 7, n * 1_000_000)
    assert draw_histogram(samples).shape == draw_over_time(samples).shape == (400, 800, 3)
    names = {path.name for path in write_plots(tmp_path / "plots", samples)}
    assert names == {"light-to-frame--cam-histogram.png", "light-to-frame--cam-over-time.png"}
    assert all((tmp_path / "plots" / name).stat().st_size > 1000 for name in names)


def test_the_labels_of_a_plot_stay_out_of_its_frame():
    samples = Samples("light to frame")
    for n in range(50):
        samples.add(12_345_678 + n, n * 1_000_000)
    for picture in (draw_over_time(samples), draw_histogram(samples)):
        ink = (picture < 100).all(axis=2)
        assert ink[:, :94].any()
        assert not ink[:, 95:100].any()  # beside the frame, which begins at 100
