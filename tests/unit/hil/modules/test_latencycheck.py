"""latencycheck: from edges on line A to edges on line B, or between edges of A."""

import pytest

from mlink.errors import ModuleError
from mlink.types import LineCommand, LineCommandKind, LineModeFlags, LineReading
from mlink_hil.catalog import LatencyCheckSettings, latencycheck
from mlink_hil.modules.latencycheck import LatencyCheckModule, bars
from tests.support.fake_context import FakeContext

ACK = LineCommand(LineCommandKind.WRITE_DIGITAL_PULSE, 8, 1, 30_000)


def make(tmp_path, *, b=True, a=True, **settings):
    context = FakeContext(latencycheck, LatencyCheckSettings(**settings), tmp_path, name="check")
    context.inputs["line-a-in"].connected = a
    context.inputs["line-b-in"].connected = b
    module = LatencyCheckModule(context)
    module.prepare()
    module.start()
    return module, context


def feed(context, *edges):
    """Feed edges such as "a1@100": line A goes high at 100 µs."""
    for edge in edges:
        what, _, time = edge.partition("@")
        context.inputs[f"line-{what[0]}-in"].on_item(LineReading(5, int(what[1]), int(time)))


def latencies(context):
    return [
        (int(block.timestamps[0]), int(block.data[0, 0]))
        for block in context.outputs["latencies-out"].items
    ]


def acks(context):
    return context.outputs["line-out"].items[1:]


def test_the_acknowledging_line_becomes_an_output(tmp_path):
    _, context = make(tmp_path, ack_line=12)
    assert context.outputs["line-out"].items == [
        LineCommand(LineCommandKind.SET_MODE, 12, flags=LineModeFlags.IS_OUTPUT)
    ]


def test_from_an_edge_on_a_to_the_first_on_b(tmp_path):
    _, context = make(tmp_path)
    feed(context, "a1@100", "b1@350", "b0@400", "b1@500", "a0@600", "a1@700", "b0@800", "b1@900")
    assert latencies(context) == [(350, 250), (900, 200)]
    assert acks(context) == [ACK, ACK]


def test_an_edge_on_a_replaces_the_one_before(tmp_path):
    _, context = make(tmp_path)
    feed(context, "a1@100", "a0@200", "a1@300", "b1@350")
    assert latencies(context) == [(350, 50)]


def test_an_edge_on_b_that_is_taken_before_its_a_is_not_lost(tmp_path):
    _, context = make(tmp_path)
    feed(context, "b1@350", "a1@100")
    assert latencies(context) == [(350, 250)]


def test_an_edge_on_b_before_any_on_a_is_ignored(tmp_path):
    _, context = make(tmp_path)
    feed(context, "b1@50", "a1@100", "b0@150")
    assert latencies(context) == []


@pytest.mark.parametrize(
    ("edge", "expected"),
    [(0, [(400, 300)]), (1, [(500, 300)]), (2, [(200, 100), (400, 200), (500, 100)])],
)
def test_one_line_is_timed_from_edge_to_edge(tmp_path, edge, expected):
    _, context = make(tmp_path, b=False, mode=1, trigger_edge=edge)
    feed(context, "a1@100", "a0@200", "a1@400", "a1@450", "a0@500")
    assert latencies(context) == expected
    assert len(acks(context)) == len(expected) + 1


def test_a_first_reading_of_1_is_a_rising_edge_and_of_0_is_none(tmp_path):
    _, context = make(tmp_path, b=False, mode=1, trigger_edge=2)
    feed(context, "a0@100")
    assert acks(context) == []
    feed(context, "a1@200")
    assert acks(context) == [ACK]


def test_wrong_connections_are_refused_and_none_is_no_work(tmp_path):
    with pytest.raises(ModuleError, match="line-b-in is not connected"):
        make(tmp_path, b=False)
    with pytest.raises(ModuleError, match="line-b-in is connected"):
        make(tmp_path, mode=1)
    make(tmp_path, a=False, b=False)


def test_the_metadata_names_what_the_stream_holds(tmp_path):
    _, context = make(tmp_path)
    assert context.outputs["latencies-out"].metadata == {
        "signal_names": ["Latency"],
        "time_unit": "microseconds",
        "data_unit": "µs",
        "data_name_proposal": "check/values",
    }


def test_the_summary_has_percentiles_and_a_histogram(tmp_path):
    module, context = make(tmp_path, histogram_bins=3)
    for n in range(100):
        feed(context, f"a1@{n * 1000}", f"b1@{n * 1000 + n}", f"a0@{n * 1000 + 500}")
        feed(context, f"b0@{n * 1000 + 600}")
    module.stop()
    assert context.reports["latencies"] == 100
    assert context.reports["latency_p50_usec"] == 49.5
    assert context.reports["latency_max_usec"] == 99
    assert context.reports["histogram"] == "0 µs ███ 99 µs"


def test_bars_show_what_is_not_zero():
    assert bars([0, 1, 500, 1000]) == " ▁▄█"
    assert bars([]) == ""


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"ack_line": -1}, "ack_line: "),
        ({"ack_pulse_ms": 0}, "ack_pulse_ms: "),
        ({"histogram_bins": 0}, "histogram_bins: "),
    ],
)
def test_settings_are_checked(tmp_path, settings, problem):
    (found,) = LatencyCheckSettings(**settings).check(tmp_path)
    assert found.startswith(problem)
