"""Parts of the test bench that need no run: starvation, the scene's LED, the tap's bench, names."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from mlink.bench import load_bench
from mlink.errors import BenchError, DeviceError, ModuleError
from mlink.tap.attach import add_tap
from mlink.types import DataType
from mlink_hil.board_choice import scene_endpoint
from mlink_hil.control.messages import Edge
from mlink_hil.control.watcher import BoardLink
from mlink_hil.scene.camera import SceneCamera
from mlink_hil.scene.lines import BoardLines
from mlink_hil.testing.host.starvation import Starvation
from mlink_hil.testing.names import Names
from mlink_hil.testing.runs import features, leave_out
from mlink_hil.verify.plots import draw_histogram, draw_over_time, write_plots
from mlink_hil.verify.timing import Samples
from tests.support import ROOT
from tests.support.virtual_uno import open_uno

LED_BENCH = ROOT / "hil" / "benches" / "led-follows-button"


@pytest.fixture
def bench():
    return load_bench(LED_BENCH)


# the bench with a tap ---------------------------------------------------------------------------


def test_a_tap_listens_to_every_stream_that_tests_look_at(bench):
    tapped = add_tap(bench, Path("/nowhere/tap"))
    tap = tapped.modules["mlink-tap"]
    streams = {f"{c.source_module}.{c.source_port}": c.port for c in tap.connections}
    assert {"board.fmdata", "cam.video", "loop.firmatactl-out", "loop.table-out"} <= set(streams)
    assert all(stream == port for stream, port in streams.items())
    assert {port.id: port.data_type for port in tap.inputs}["cam.video"] is DataType.Frame
    assert "mlink-tap" not in bench.modules


def test_a_bench_with_a_tap_of_its_own_is_refused(bench):
    with pytest.raises(ModuleError, match="mlink-tap"):
        add_tap(add_tap(bench, Path("/x")), Path("/x"))


def test_a_module_that_is_left_out_takes_its_connections_along(bench):
    left = leave_out(bench, ("finger",))
    assert "finger" not in left.modules
    assert left.modules["latencies"].connections == ()
    with pytest.raises(BenchError, match="no module 'fingers'"):
        leave_out(bench, ("fingers",))


def test_features_say_why_they_are_lacking(bench):
    lacking = features(bench)
    assert lacking["simulated"] == lacking["board"] == lacking["camera"] == ""
    assert lacking["real"] == "eye is virtual:scene, uno is virtual:uno"


def test_names_are_found_without_a_name_where_there_is_one(bench):
    names = Names(bench, {"uno"}.__contains__, {"loop.table-out": {"table_header": ["a", "b"]}}, {})
    assert names.board() == names.board("uno") == names.board("board") == "uno"
    assert names.line_channel(8, None) == "uno.8"
    assert names.reading_channel(8, None) == "board.fmdata.8"
    assert names.frame_stream() == names.frame_stream("eye") == "cam.video"
    assert names.row_stream() == names.row_stream("loop") == "loop.table-out"
    assert names.columns("loop.table-out") == ["a", "b"]
    with pytest.raises(BenchError, match="no board 'due'"):
        names.board("due")


def test_on_a_real_board_an_edge_is_what_the_board_reports(bench):
    names = Names(bench, set[str]().__contains__, {}, {})
    assert names.line_channel(8, None) == "board.fmdata.8"


# the LED of the scene ---------------------------------------------------------------------------


def test_the_led_is_as_bright_as_the_pin_was_high_during_the_exposure(tmp_path):
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        lines = BoardLines(endpoint.control, [9])

        def share(end_ns):
            lines.catch_up(end_ns)
            (found,) = lines.share_high(9, np.array([end_ns]), 10_000_000)
            return found

        on = board.drive(9, True).time_ns
        time.sleep(0.02)
        off = board.drive(9, False).time_ns
        time.sleep(0.02)
        assert share(on) == pytest.approx(0)
        assert share(on + 5_000_000) == pytest.approx(0.5)
        assert share(on + 15_000_000) == pytest.approx(1)
        assert share(off + 2_500_000) == pytest.approx(0.75)
        assert share(off + 10_000_000) == pytest.approx(0)
        lines.close()


def test_a_scene_shows_the_light_of_a_board(tmp_path):
    from mlink_drivers.camera.backend import CameraRequest, Stamp

    with open_uno(tmp_path, "protocol") as (_, board, _):
        camera = SceneCamera()
        eye = scene_endpoint("eye", "virtual:scene?board=uno&led=9", None, tmp_path)
        info = camera.open(eye.address, CameraRequest(size=(320, 240), framerate=100))
        camera.start()
        image = np.empty(info.shape, info.dtype)
        x, y = 240, 180

        def look() -> int:
            """Return how bright the light is once its exposure is later than the call."""
            time.sleep(0.05)
            for _ in range(5):  # four wait, from before
                assert isinstance(camera.grab(), Stamp)
                assert camera.retrieve(image)  # a board that is gone gives no light, and no error
            return int(image[y, x, 2])

        seen = []
        for level in (False, True, False):
            board.drive(9, level)
            seen.append(look())
        board.quit()
        seen.append(look())
        camera.close()
    assert seen[1] > 200
    assert seen[0] == seen[2] == seen[3] < 60


def test_a_scene_without_its_board_says_so(tmp_path):
    from mlink_drivers.camera.backend import CameraRequest

    eye = scene_endpoint("eye", "virtual:scene?board=due&led=9", None, tmp_path)
    with pytest.raises(DeviceError, match="no virtual board"):
        SceneCamera().open(eye.address, CameraRequest())
    with pytest.raises(DeviceError, match=r"led in .* is not a whole number"):
        scene_endpoint("eye", "virtual:scene?board=uno&led=x", None, tmp_path)


# the link to a board ----------------------------------------------------------------------------


def test_at_a_barrier_every_edge_before_it_has_been_noted(tmp_path):
    edges: list[Edge] = []
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        link = BoardLink(endpoint.control, edges.append, pins=[9])
        for level in (True, False) * 10:
            board.drive(9, level)
        last = board.read(9).time_ns
        assert link.barrier() >= last
        assert [edge.level for edge in edges] == [True, False] * 10
        with pytest.raises(DeviceError):
            link.drive(99, True)
        link.close()


def test_a_board_that_has_gone_is_an_error_and_not_a_hang(tmp_path):
    with open_uno(tmp_path, "protocol") as (endpoint, board, _):
        link = BoardLink(endpoint.control, lambda _edge: None, pins=[9])
        board.quit()
        time.sleep(0.1)
        with pytest.raises(DeviceError, match="does not answer"):
            link.read(9)
        link.close()


# starvation -------------------------------------------------------------------------------------


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_processes_that_wait_for_a_processor_are_seen():
    spinners = [
        multiprocessing.get_context("spawn").Process(target=_spin, args=(30,)) for _ in range(2)
    ]
    for spinner in spinners:
        spinner.start()
    try:
        cpu = min(os.sched_getaffinity(0))
        for spinner in spinners:
            assert spinner.pid is not None
            os.sched_setaffinity(spinner.pid, {cpu})
        starvation = Starvation()
        deadline = time.monotonic() + 10
        while max(starvation.waits_usec().values(), default=0) < 20_000:
            if time.monotonic() > deadline:
                pytest.fail("two processes on one processor, and neither waited")
            if not starvation.waits_usec():
                starvation.find()
            time.sleep(0.05)
        starvation.find(without=list(starvation.waits_usec()))
        assert starvation.waits_usec() == {}
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()
            spinner.close()


def test_a_wait_that_is_not_over_counts_when_those_who_wait_have_run():
    spawn = multiprocessing.get_context("spawn")
    busy, starved = (spawn.Process(target=_spin, args=(30,)) for _ in range(2))
    busy.start()
    starved.start()
    try:
        cpu = {min(os.sched_getaffinity(0))}
        os.sched_setaffinity(busy.pid, cpu)
        os.sched_setaffinity(starved.pid, cpu)
        os.sched_setscheduler(starved.pid, os.SCHED_IDLE, os.sched_param(0))
        starvation = Starvation()
        starvation.find()
        time.sleep(0.3)  # it hardly runs meanwhile, and what it waits is not counted yet
        starvation.mark()
        time.sleep(0.05)
        starvation.let_run(10)
        assert sum(starvation.waits_usec().values()) > 0
    finally:
        for spinner in (busy, starved):
            spinner.kill()
            spinner.join()
            spinner.close()


# verify-timing ----------------------------------------------------------------------------------


def test_samples_are_summed_up():
    samples = Samples("round trip")
    for n in range(101):
        samples.add(float(n), n * 1000)
    assert samples.summary() == {"count": 101, "p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert Samples("none").summary() == {"count": 0}


def test_drift_is_told_of_a_run_that_is_long_enough():
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
