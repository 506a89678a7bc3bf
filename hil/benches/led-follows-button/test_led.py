"""The LED follows the button: the same file on simulated and on real hardware.

pytest hil/benches/led-follows-button                                # simulated
pytest hil/benches/led-follows-button --mlink-devices lab.toml       # yours
"""

import pytest

from mlink_hil.testing import Span, edge, frame, reading, row

BUTTON, LED = 7, 8
SOON_USEC = 100_000  # for one press on a busy computer; three bytes each way take 1 ms
TYPICAL_USEC = 3_500  # for the quickest quarter of many: 1 to 2 ms by the firmware and its line

# Left out: the finger that presses by itself. Here the test presses.
pytestmark = pytest.mark.bench("bench.toml", without=("finger", "latencies"))


def test_pressing_lights_the_led(bench, board):
    press = board.line(BUTTON).drive(False)
    lit = bench.expect(edge(LED, rising=True), within_usec=SOON_USEC, after=press)
    bench.measure("press to light", lit.since(press), at_most=SOON_USEC)


def test_letting_go_puts_it_out(bench, board):
    button = board.line(BUTTON)
    bench.expect(edge(LED, rising=True), within_usec=SOON_USEC, after=button.drive(False))
    bench.expect(edge(LED, rising=False), within_usec=SOON_USEC, after=button.release())


def test_each_press_gives_one_flash_and_one_row_per_edge(bench, board):
    began = bench.now()
    latencies = []
    for _ in range(20):
        press = board.line(BUTTON).drive(False)
        lit = bench.expect(edge(LED, rising=True), within_usec=SOON_USEC, after=press)
        latencies.append(lit.since(press))
        let_go = board.line(BUTTON).release()
        bench.expect(edge(LED, rising=False), within_usec=SOON_USEC, after=let_go)
    over = bench.now().since(began).usec + 50_000
    bench.expect_count(edge(LED, rising=True), 20, within_usec=over, after=began)
    rows = bench.expect_count(row("loop.table-out"), 40, within_usec=over, after=began)
    times = [int(each.cells[0]) for each in rows]
    assert times == sorted(times)
    # not the median: what a busy computer adds to some is left out
    bench.measure("lower quartile", Span.quantile(latencies, 0.25), at_most=TYPICAL_USEC)


def test_not_one_edge_in_a_thousand_is_lost(bench, board):
    button = board.line(BUTTON)
    for _ in range(500):
        bench.expect(edge(LED, rising=True), within_usec=SOON_USEC, after=button.drive(False))
        bench.expect(edge(LED, rising=False), within_usec=SOON_USEC, after=button.release())


def test_the_board_reports_what_the_test_did(bench, board):
    press = board.line(BUTTON).drive(False)
    seen = bench.expect(reading(BUTTON, value=0), within_usec=SOON_USEC, after=press)
    bench.measure("press to reading", seen.since(press))
    bench.expect(edge(LED, rising=True), within_usec=SOON_USEC, after=press)


def test_without_a_press_the_led_stays_dark(bench):
    bench.expect_none(edge(LED), for_usec=300_000)


def test_the_camera_films_30_frames_a_second(bench):
    rate = bench.expect_rate(frame(), hz=30, tolerance=0.02, for_usec=500_000)
    bench.measure("frame rate", rate, "Hz")
