"""What tests see of a run: the history, timelines, the VCD file and the HTML report."""

import io
import itertools
import shutil
import subprocess
import threading
import time
from xml.etree import ElementTree

import pytest

from mlink_hil.faults import kinds
from mlink_hil.testing.evidence import fault_spans
from mlink_hil.testing.observed.events import Event, fault_event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.report.html import report_html
from mlink_hil.testing.report.timeline_svg import timeline_svg
from mlink_hil.testing.report.timeline_text import draw_timeline, list_events
from mlink_hil.testing.report.vcd import vcd_lines, write_vcd


def edge(channel: str, time_usec: int, level: int) -> Event:
    return Event(channel, time_usec, level, 1, 1, previous=1 - level)


def led_history() -> History:
    history = History()
    history.add([edge("uno.7", 1000, 0), edge("uno.8", 3000, 1), edge("uno.8", 5000, 0)])
    history.add([Event("cam.video", 2000, 17), Event("loop.table", 3500, cells=("a", "b"))])
    return history


def test_history_gives_a_span_of_a_channel_and_what_was_before():
    history = led_history()
    assert [e.time_usec for e in history.of("uno.8")] == [3000, 5000]
    assert [e.time_usec for e in history.of("uno.8", 3500, 9000)] == [5000]
    assert history.of("uno.9") == []
    last = history.last("uno.8", 4000)
    assert last is not None
    assert last.time_usec == 3000
    assert history.last("uno.8", 100) is None


def test_history_counts_an_event_in_that_may_lie_in_the_span():
    assert [e.time_usec for e in led_history().of("uno.8", 3001, 4999)] == [3000, 5000]


def test_events_that_come_out_of_order_are_put_in_order():
    history = History()
    history.add([edge("x", 20, 1), edge("x", 10, 0)])
    assert [e.time_usec for e in history.of("x")] == [10, 20]


def test_a_wait_ends_when_it_is_done_when_the_time_is_over_and_when_the_run_ends():
    history = History()
    adder = threading.Timer(0.05, lambda: history.add([edge("x", 1, 1)]))
    adder.start()
    assert history.wait(lambda: bool(history.of("x")), 5.0)
    adder.join()
    began = time.monotonic()
    assert not history.wait(lambda: False, 0.05)
    assert 0.04 < time.monotonic() - began < 20
    ender = threading.Timer(0.05, history.end)
    ender.start()
    assert not history.wait(lambda: False, 5.0)
    ender.join()


def test_the_timeline_draws_lines_as_waves_and_the_rest_as_ticks():
    lines = draw_timeline(
        led_history(),
        0,
        6400,
        now_usec=10_000,
        marks=[(1000, "press"), (6000, "deadline")],
        first=["uno.7"],
    )
    assert lines == [
        "                       ▼ press",
        "                                                                deadline ▼",
        "       uno.7 " + "▔" * 10 + "▁" * 54,
        "   cam.video " + " " * 20 + "╷" + " " * 43,
        "  loop.table " + " " * 35 + "╷" + " " * 28,
        "       uno.8 " + "▁" * 30 + "▔" * 20 + "▁" * 14,
        "             0.000 ms                                                6.400 ms",
    ]


def test_the_timeline_draws_nothing_after_the_present():
    lines = draw_timeline(led_history(), 0, 6400, now_usec=3950, first=["uno.8"])
    assert lines[0] == "       uno.8 " + "▁" * 30 + "▔" * 10


def test_two_changes_in_one_column_show_as_a_bar():
    history = History()
    history.add([edge("x", 3100, 1), edge("x", 3101, 0)])
    assert "▁│▁" in "".join(draw_timeline(history, 0, 64_000, now_usec=99_000))


def test_events_are_listed_with_their_times_after_the_stimulus():
    lines = list_events(led_history(), ["uno.7", "uno.8"], 0, 4000, 1000)
    assert lines == [
        "          +0 µs  ±1              uno.7 → 0",
        "       +2000 µs  ±1              uno.8 → 1",
    ]


def test_vcd_holds_lines_as_wires_and_frames_as_reals():
    history = led_history()
    channels = {name: history.of(name) for name in history.channels()}
    text = "\n".join(vcd_lines(channels, 500, 8000))
    assert "$timescale 1 us $end" in text
    assert '$var wire 1 " uno_7 $end' in text
    assert "$var real 64 ! cam_video $end" in text
    assert "loop_table" not in text
    assert '#500\n0"' in text
    assert "#1500\nr17 !" in text
    assert text.endswith("#7500")


def test_vcd_is_read_by_pyvcd():
    reader = pytest.importorskip("vcd.reader", reason="needs pyvcd")
    history = led_history()
    channels = {name: history.of(name) for name in history.channels()}
    data = "\n".join(vcd_lines(channels, 0, 8000)).encode()
    tokens = list(reader.tokenize(io.BytesIO(data)))
    names = [token.data.reference for token in tokens if token.kind is reader.TokenKind.VAR]
    assert names == ["cam_video", "uno_7", "uno_8"]
    times = [token.data for token in tokens if token.kind is reader.TokenKind.CHANGE_TIME]
    assert times == [0, 1000, 2000, 3000, 5000, 8000]


@pytest.mark.skipif(not shutil.which("sigrok-cli"), reason="sigrok-cli is not installed")
def test_vcd_is_opened_by_sigrok(tmp_path):
    events = {"uno.8": [edge("uno.8", 5, 1), edge("uno.8", 9, 0)]}
    path = tmp_path / "lines.vcd"
    write_vcd(path, events, began_usec=0, end_usec=12)
    command = ["sigrok-cli", "-I", "vcd", "-i", str(path), "-O", "csv:header=false:label=off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True)
    levels = [line for line in done.stdout.split() if line in ("0", "1")]
    assert levels == list("000001111000")


def test_the_report_is_one_file_that_shows_and_escapes_what_happened():
    tests = [
        {
            "nodeid": "test_led.py::test_<x>",
            "outcome": "failed",
            "duration": 0.5,
            "text": "no edge <on> uno.8",
            "why": "it stayed <dark>\n\nthe timeline\n",
            "measurements": [
                {
                    "name": "latency",
                    "value": 1234567.0,
                    "lowest": 1400,
                    "highest": 1600,
                    "unit": "µs",
                    "at_least": None,
                    "at_most": 1000,
                    "outcome": "fail",
                }
            ],
            "began_usec": 0,
            "end_usec": 8000,
            "channels": {
                "uno.8": [[3000, 1, 1, 1], [5000, 0, 1, 1]],
                "cam.video": [[2000, 17, 0, 0]],
            },
            "before": {"uno.8": 0},
            "stimuli": [[1000, "press"]],
            "deadlines": [[6000, "rising edge"]],
            "pictures": [{"label": "cam 17", "jpeg": "AAAA"}],
            "recording": "/data/x",
            "vcd": "vcd/x.vcd",
        }
    ]
    text = report_html(tests)
    assert "test_&lt;x&gt;" in text
    assert "no edge &lt;on&gt; uno.8" in text
    assert '<p class="why">it stayed &lt;dark&gt;</p>' in text
    assert "1234567" in text
    assert '<polyline class="wave"' in text
    assert "data:image/jpeg;base64,AAAA" in text
    assert "1400 to 1600" in text
    assert "mlink view &#x27;/data/x#t=6000&#x27;" in text
    assert "≤ 1000" in text
    assert 'href="vcd/x.vcd"' in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_rows_are_ticks_in_the_report_and_no_line():
    events = {"loop.rows": [[10, 0, 0, 0], [20, 0, 0, 0]], "uno.8": [[15, 1, 1, 1]]}
    test = {"began_usec": 0, "end_usec": 100, "channels": events, "rows": ["loop.rows"]}
    drawn = timeline_svg({**test, "before": {}, "stimuli": [], "deadlines": []})
    assert drawn.count('class="tick"') == 1
    assert drawn.count('class="wave"') == 1


def drawn(**given):
    test = {"channels": {}, "before": {}, "stimuli": [], "deadlines": [], **given}
    return ElementTree.fromstring(timeline_svg(test).replace(' xmlns="', ' was="'))


def texts(drawing, kind):
    return [each for each in drawing.iter("text") if each.get("class") == kind]


@pytest.mark.parametrize("span_usec", [7, 900, 64_000, 5_800_000, 3_600_000_000])
@pytest.mark.parametrize("start_usec", [0, 10_633_999])
def test_the_times_at_the_axis_are_round_apart_and_inside_of_the_picture(start_usec, span_usec):
    channels = {"uno.8": [[start_usec, 1, 0, 0]]}
    drawing = drawn(began_usec=start_usec, end_usec=start_usec + span_usec, channels=channels)
    labels = texts(drawing, "axis")
    assert 2 <= len(labels) <= 8
    assert len({label.text for label in labels}) == len(labels)
    _, _, width, height = (float(each) for each in drawing.get("viewBox").split())
    ends = []
    for label in labels:
        half = 3 * len(label.text)
        assert float(label.get("x")) - half >= 190
        assert float(label.get("x")) + half <= width
        assert float(label.get("y")) < height
        ends += [float(label.get("x")) - half, float(label.get("x")) + half]
    assert ends == sorted(ends)  # none over another
    values = [float(label.text.split()[0]) for label in labels]
    steps = [round(b - a, 9) for a, b in itertools.pairwise(values)]
    assert len(set(steps)) == 1
    assert f"{steps[0]:e}"[0] in "125"


def test_what_a_test_did_is_named_where_there_is_room_and_deadlines_after_its_end_are_left_out():
    drawing = drawn(
        began_usec=0,
        end_usec=1000,
        channels={"uno.8": [[500, 1, 0, 0]]},
        stimuli=[[100, "uno.7 → 0 at 100 µs"], [101, "uno.7 → 1 at 101 µs"]],
        deadlines=[[900, "rising edge"], [1100, "falling edge"]],
    )
    assert "uno.7 → 0" in [label.text for label in texts(drawing, "axis")]
    assert "uno.7 → 1" not in [label.text for label in texts(drawing, "axis")]
    titles = [each.text for each in drawing.iter("title")]
    assert "deadline: rising edge" in titles
    assert "deadline: falling edge" not in titles


def test_faults_are_bars_as_long_as_they_lasted():
    faults = [[100, 600, "stall cam"], [-50, 1000, "line-noise uno"], [300, 300, "reset uno"]]
    drawing = drawn(began_usec=0, end_usec=1000, faults=faults)
    bars = {each.find("title").text: each for each in drawing.iter("rect")}
    assert float(bars["stall cam"].get("width")) == 350  # of 700 for 1000 µs
    assert float(bars["line-noise uno"].get("width")) == 700
    assert float(bars["reset uno"].get("width")) > 0
    assert "fault: stall cam" in [label.text for label in texts(drawing, "name")]


def test_brightness_is_a_curve_and_frames_are_ticks():
    channels = {"cam.video": [[10, 0, 0, 0], [40, 1, 0, 0]], "cam.video[1,1 2×2]": [[10, 27, 0, 0]]}
    drawing = drawn(
        began_usec=0,
        end_usec=100,
        channels=channels,
        frames=["cam.video"],
        before={"cam.video[1,1 2×2]": 169},
    )
    (curve,) = drawing.iter("polyline")
    assert curve.find("title").text == "27 to 169"
    assert len([each for each in drawing.iter("path") if each.get("class") == "tick"]) == 1


def shown(drawing, kind):
    return [each for each in drawing.iter() if each.get("class") == kind]


def test_what_is_not_known_is_hatched_and_no_level_is_drawn_there():
    drawing = drawn(
        began_usec=0,
        end_usec=700,
        channels={
            "uno.7": [[100, 1, 0, 0, False], [300, 1, 0, 0, True]],
            "uno.8": [[200, 0, 0, 0, False]],
        },
        before={"uno.8": 1, "uno.9": 0},
        cut={"uno.8": 400},
        watched=["uno.10"],
    )
    unknown = [(float(e.get("x")), float(e.get("width"))) for e in shown(drawing, "unknown")]
    # uno.7 before its first event and where some were lost, uno.8 after those kept, all of uno.10
    assert sorted(unknown) == [(190, 100), (190, 700), (290, 200), (590, 300)]
    waves = [each.get("points").split() for each in shown(drawing, "wave")]
    spans = sorted((points[0].split(",")[0], points[-1].split(",")[0]) for points in waves)
    moment = ("290.0", "290.0")  # of uno.7 before the loss: known at that time alone
    assert spans == [("190.0", "590.0"), ("190.0", "890.0"), moment, ("490.0", "890.0")]


def test_where_an_edge_may_have_been_is_shaded_when_that_can_be_seen():
    drawing = drawn(began_usec=0, end_usec=700, channels={"uno.8": [[300, 1, 50, 20, False]]})
    (band,) = shown(drawing, "unsure")
    assert (float(band.get("x")), float(band.get("width"))) == (440, 70)


def plain(**given):
    test = {"measurements": [], "outcome": "error", "duration": 0.25, "text": "E  no\n> open()"}
    return {"nodeid": "a.py::test_a", "why": "no board\n", **test, **given}


def test_the_report_begins_with_what_ran_and_a_table_of_tests_and_shows_a_failure_once():
    about = {
        "path": "/b/bench.toml",
        "devices": {"uno": "/dev/ttyACM0 (usb-Arduino_1234)"},
        "host": "lab",
        "system": "Linux 6",
        "versions": {"mlink": "0.1.0"},
    }
    ran = {"about": about, "bench": "led", "time": "real time", "began": 1e9}
    text = report_html([plain(), plain(nodeid="a.py::test_b"), plain(text="", why="", **ran)])
    head, *tests = text.split("<details id=")
    for fact in ("led (/b/bench.toml), real time", "uno = /dev/ttyACM0 (usb-Arduino_1234)",
                 "lab: Linux 6", "mlink 0.1.0", "2001-09-", "3 tests, 0.75 s"):  # fmt: skip
        assert fact in head
    assert head.count("no board") == 1
    assert 'as <a href="#t1">test 1</a>' in head
    assert "no board" in tests[0]
    assert "&gt; open()" in tests[0]
    assert "E  no" not in tests[0]  # it is the message, which is above
    assert "no board" not in tests[1]


def test_a_faults_time_is_from_where_it_begins_to_where_it_ends():
    stall, noise = kinds.Stall(target="cam"), kinds.LineNoise(target="uno", drop=1)
    done = [(10, "begin", stall), (20, "begin", noise), (30, "end", stall), (40, "begin", stall),
            (50, "once", kinds.Reset(target="uno")), (60, "failed", kinds.Kill(target="x")),
            (70, "end", stall)]  # fmt: skip
    events = [fault_event(*each) for each in done]
    assert fault_spans(events, 35, 100) == [
        [20, 100, "line-noise uno"],
        [40, 70, "stall cam"],
        [50, 50, "reset uno"],
        [60, 60, "kill x was not made"],
    ]
