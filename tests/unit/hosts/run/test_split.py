"""A bench is split into the parts of its hosts; each can run, and none waits in a circle."""

from __future__ import annotations

import msgspec
import pytest

from mlink.bench import Bench, load_bench
from mlink.engine.plan import find_edges, order_modules, start_order
from mlink.errors import BenchError
from mlink.hosts.run.bridge import Link
from mlink.hosts.run.split import Part, here, split, there

LINK = Link("tcp/127.0.0.1:1", "00")
LOOP = """
[hosts]
chamber = "tls/10.0.0.7:7447"
pi = "tls/10.0.0.8:7447"
[devices]
uno = "virtual:uno"
eye = "virtual:scene"
other = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
host = "chamber"
[modules.board]
type = "firmata-io"
device = "uno"
host = "chamber"
inputs = { fmctl = "loop.ctl" }
[modules.video]
type = "videorecorder"
host = "chamber"
inputs = { frames-in = "cam.video" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frames", data_type = "Frame" }, { id = "lines", data_type = "LineReading" }]
ports_out = [{ id = "ctl", data_type = "LineCommand" }]
inputs = { frames = { from = "cam.video", codec = "jpeg", policy = "newest" }, lines = "board.fmdata" }
[modules.copy]
type = "videorecorder"
host = "pi"
inputs = { frames-in = { from = "cam.video", queue = 9 } }
"""  # noqa: E501


def load(folder, text=LOOP) -> Bench:
    (folder / "loop.py").write_text("")
    path = folder / "bench.toml"
    path.write_text(text)
    return load_bench(path)


def crossed(part: Part) -> Part:
    """Return a part as the other host has it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Part)


def edges_of(bench: Bench) -> dict[tuple[str, str], bool]:
    """Return the subscriptions of a part, with whether they are feedback."""
    found = find_edges(bench, order_modules(bench))
    return {(f"{e.source}.{e.source_port}", f"{e.target}.{e.target_port}"): e.feedback
            for e in found}  # fmt: skip


def benches(folder, text=LOOP) -> dict[str, Bench]:
    """Return the benches of all hosts."""
    bench = load(folder, text)
    parts = split(bench)
    made = {name: there(crossed(part), folder, LINK) for name, part in parts.items()
            if name != "controller"}  # fmt: skip
    return made | {"controller": here(bench, parts["controller"], LINK)}


def test_each_host_has_its_modules_and_the_ends_of_streams(tmp_path):
    assert {name: sorted(bench.modules) for name, bench in benches(tmp_path).items()} == {
        "chamber": [
            "board", "board-fmdata>controller", "cam", "cam-video>controller", "cam-video>pi",
            "loop-ctl@controller", "video",
        ],
        "pi": ["cam-video@chamber-2", "copy"],
        "controller": ["board-fmdata@chamber", "cam-video@chamber", "loop", "loop-ctl>chamber"],
    }  # fmt: skip


def test_streams_are_feedback_where_they_are_in_the_whole_bench(tmp_path):
    made = benches(tmp_path)
    assert edges_of(made["chamber"]) == {
        ("cam.video", "video.frames-in"): False,
        ("cam.video", "cam-video>controller.stream"): False,
        ("cam.video", "cam-video>pi.stream"): False,
        ("board.fmdata", "board-fmdata>controller.stream"): False,
        ("loop-ctl@controller.stream", "board.fmctl"): True,
    }
    assert edges_of(made["controller"]) == {
        ("cam-video@chamber.stream", "loop.frames"): False,
        ("board-fmdata@chamber.stream", "loop.lines"): False,
        ("loop.ctl", "loop-ctl>chamber.stream"): False,
    }


def test_a_device_starts_before_commands_for_it_come(tmp_path):
    order = list(start_order(benches(tmp_path)["chamber"]))
    assert order.index("board") < order.index("loop-ctl@controller")


def test_how_a_stream_crosses_is_as_its_subscriber_says(tmp_path):
    bridges = {each.in_name: each for part in split(load(tmp_path)).values()
               for each in part.bridges}  # fmt: skip
    loop, copy = bridges["cam-video@chamber"], bridges["cam-video@chamber-2"]
    assert (loop.codec, loop.policy, loop.feedback) == ("jpeg", "newest", False)
    assert (copy.codec, copy.policy, copy.subscribers[0].queue) == ("raw", "all", 9)
    assert bridges["loop-ctl@controller"].feedback


def test_a_circle_within_a_host_that_leads_through_another_is_marked_there(tmp_path):
    text = """
[hosts]
pi = "tls/10.0.0.8:7447"
"""
    for name, host, sources in (
        ("a", "pi", {"in0": "c.out", "in1": "b.out"}),
        ("b", "pi", {"in0": "c.out"}),
        ("c", "", {"in0": "a.out"}),
    ):
        ports = ", ".join(f'{{ id = "{port}", data_type = "TableRow" }}' for port in sources)
        inputs = ", ".join(f'{port} = "{source}"' for port, source in sources.items())
        text += f'[modules.{name}]\ntype = "pyscript"\nscript = "loop.py"\n'
        text += f'ports_in = [{ports}]\nports_out = [{{ id = "out", data_type = "TableRow" }}]\n'
        text += f"inputs = {{ {inputs} }}\n" + (f'host = "{host}"\n' if host else "")
    whole = edges_of(load(tmp_path, text))
    made = benches(tmp_path, text)
    parts = {**edges_of(made["pi"]), **edges_of(made["controller"])}
    assert sum(whole.values()) > 0
    for (source, target), feedback in whole.items():
        module, port = source.split(".")
        found = {
            parts[each]
            for each in parts
            if each[1] == target and (each[0] == source or each[0].startswith(f"{module}-{port}@"))
        }
        assert found == {feedback}, (source, target)


def test_a_part_without_the_module_that_a_stream_needs_is_refused(tmp_path):
    part = split(load(tmp_path))["chamber"]
    less = {name: table for name, table in part.modules.items() if name != "cam"}
    less.pop("video")
    with pytest.raises(BenchError, match=r"no module sends Frame on 'cam\.video'"):
        there(msgspec.structs.replace(part, modules=less), tmp_path, LINK)


def test_a_part_that_this_host_cannot_run_is_refused_by_name(tmp_path):
    part = split(load(tmp_path))["pi"]
    tables = {"copy": {**part.modules["copy"], "type": "no-such-recorder"}}
    with pytest.raises(BenchError, match="unknown module type 'no-such-recorder'"):
        there(msgspec.structs.replace(part, modules=tables), tmp_path, LINK)


def test_all_modules_may_be_on_other_hosts(tmp_path):
    text = LOOP.partition("[modules.loop]")[0].replace('inputs = { fmctl = "loop.ctl" }', "")
    made = benches(tmp_path, text)
    assert sorted(made["controller"].modules) == []
    assert sorted(made["chamber"].modules) == ["board", "cam", "video"]
