"""The table [hosts] and `host` of modules: what is taken, and what is refused in which words."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from mlink.bench import load_bench
from mlink.bench.hosts import Host
from mlink.engine.run import Engine, RunOptions
from mlink.errors import BenchError

BENCH = """
[hosts]
chamber = "tls/10.0.0.7:7447"
[devices]
uno = "virtual:uno"
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
host = "chamber"
[modules.board]
type = "firmata-io"
device = "uno"
host = "chamber"
inputs = { fmctl = "loop.ctl" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frames", data_type = "Frame" }, { id = "lines", data_type = "LineReading" }]
ports_out = [{ id = "ctl", data_type = "LineCommand" }]
inputs = { frames = { from = "cam.video", codec = "jpeg", policy = "newest" }, lines = "board.fmdata" }
"""  # noqa: E501


def load(folder, text=BENCH, **more):
    (folder / "loop.py").write_text("")
    path = folder / "bench.toml"
    path.write_text(text)
    return load_bench(path, **more)


def test_modules_are_on_the_hosts_that_the_bench_names(tmp_path):
    bench = load(tmp_path)
    assert bench.hosts == {"chamber": Host("tls/10.0.0.7:7447")}
    assert {name: module.host for name, module in bench.modules.items()} == {
        "cam": "chamber",
        "board": "chamber",
        "loop": "",
    }
    frames, lines = bench.modules["loop"].connections
    assert (frames.codec, frames.policy) == ("jpeg", "newest")
    assert (lines.codec, lines.policy) == ("raw", "")
    assert bench.on_hosts


def test_a_host_may_be_a_table_with_a_policy_for_its_loss(tmp_path):
    table = '{ address = "tls/10.0.0.7:7447", on_loss = "stop", island_s = 5 }'
    bench = load(tmp_path, BENCH.replace('"tls/10.0.0.7:7447"', table))
    assert bench.hosts["chamber"] == Host("tls/10.0.0.7:7447", "stop", 5)


def test_controller_is_the_name_of_this_machine(tmp_path):
    text = BENCH.replace(', codec = "jpeg", policy = "newest"', "")
    bench = load(tmp_path, text.replace('host = "chamber"', 'host = "controller"'))
    assert not bench.on_hosts


def test_a_bench_without_hosts_is_as_before(tmp_path):
    text = BENCH.replace('host = "chamber"', "").partition("[devices]")
    text = text[1] + text[2].replace(', codec = "jpeg", policy = "newest"', "")
    assert not load(tmp_path, text).on_hosts


REFUSED = {
    "a host that is not in the table": (
        ('host = "chamber"', 'host = "chambre"'),
        "'chambre' is not in the table [hosts]",
        "Did you mean 'chamber'",
    ),
    "hosts of modules without a table": (
        ('[hosts]\nchamber = "tls/10.0.0.7:7447"', ""),
        "'chamber' is not in the table [hosts]",
        'Add a table [hosts] with chamber = "tls/ADDRESS:7447"',
    ),
    "one machine with two names": (
        ("[devices]", 'again = "tls/10.0.0.7:7447"\n[devices]'),
        "'chamber' has this address, too",
        "Give each machine one name",
    ),
    "a name of this machine": (
        ("[devices]", 'controller = "tls/10.0.0.8:7447"\n[devices]'),
        "'controller' cannot be a host's name",
        "'controller' is this machine",
    ),
    "no address": (("[devices]", "other = 7\n[devices]"), "'7' is not the address", ""),
    "an unknown policy": (
        ('"tls/10.0.0.7:7447"', '{ address = "x", on_loss = "wait" }'),
        "invalid enum value 'wait'",
        "",
    ),
    "a host that is no text": (('host = "chamber"', "host = 3"), "'3' is not a host's name", ""),
    "a codec of what is no frame": (
        ('lines = "board.fmdata"', 'lines = { from = "board.fmdata", codec = "jpeg" }'),
        "codec is for frames",
        "Leave it out",
    ),
    "the newest command alone": (
        ('fmctl = "loop.ctl"', 'fmctl = { from = "loop.ctl", policy = "newest" }'),
        "takes commands, of which none may be lost",
        "",
    ),
    "a codec where no host is crossed": (
        ('device = "eye"\nhost = "chamber"', 'device = "eye"'),
        "'cam' is on the same host",
        "Leave codec and policy out",
    ),
    "wires between boards": (
        ("[modules.cam]", '[virtual.b]\ntype = "button"\nline = "uno.7"\n[modules.cam]'),
        "works on one machine alone",
        "remove `host`",
    ),
    "faults": (
        ("[modules.cam]", '[[faults]]\nat = 1\nkind = "unplug"\ndevice = "uno"\n[modules.cam]'),
        "works on one machine alone",
        "remove `host`",
    ),
    "one device for two modules of a host": (
        ("[modules.loop]", '[modules.two]\ntype = "firmata-io"\ndevice = "uno"\nhost = "chamber"\n'
         "[modules.loop]"),
        "module 'board' uses 'virtual:uno', which serves one module at a time",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_with_what_to_do(tmp_path, case):
    (old, new), what, remedy = REFUSED[case]
    assert old in BENCH
    with pytest.raises(BenchError) as caught:
        load(tmp_path, BENCH.replace(old, new))
    problems = caught.value.problems
    assert [p for p in problems if what in p.what and remedy in p.remedy], str(caught.value)


def test_one_device_string_on_two_hosts_is_two_devices(tmp_path):
    more = '[modules.two]\ntype = "firmata-io"\ndevice = "uno"\nhost = "pi"\n[modules.loop]'
    text = BENCH.replace("[devices]", 'pi = "tls/10.0.0.8:7447"\n[devices]')
    bench = load(tmp_path, text.replace("[modules.loop]", more))
    assert bench.modules["two"].host == "pi"


def test_partners_are_on_one_host(tmp_path):
    wish = 'trigger = { board = "board", line = 9, rate_hz = 50, exposure_usec = 2000 }'
    trigger = f'device = "eye"\n{wish}\n'
    text = BENCH.replace('device = "eye"\nhost = "chamber"\n', trigger)
    text = text.replace(', codec = "jpeg", policy = "newest"', "")
    with pytest.raises(BenchError) as caught:
        load(tmp_path, text)
    assert "work with each other and are on two hosts" in str(caught.value)
    same = text.replace(trigger, trigger + 'host = "chamber"\n')
    assert load(tmp_path, same).modules["cam"].host == "chamber"


def test_virtual_time_is_refused(tmp_path):
    with pytest.raises(BenchError) as caught:
        load(tmp_path, time="virtual")
    assert "run in real time only" in str(caught.value)


def test_a_recorder_that_is_added_records_where_the_stream_is_made(tmp_path):
    bench = load(tmp_path, record_all=True)
    assert bench.modules["record-cam-video"].host == "chamber"
    assert bench.modules["record-board-fmdata"].host == "chamber"


def test_an_engine_does_not_run_here_what_belongs_on_other_hosts(tmp_path):
    engine = Engine(load(tmp_path), RunOptions(record=False), MagicMock())
    with pytest.raises(BenchError, match="are on other hosts"):
        engine.run()
