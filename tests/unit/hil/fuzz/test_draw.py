"""What a seed draws: within the bench's limits, the same each time, each kind by itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.errors import BenchError
from mlink_hil.fuzz.draw import Disturbed, Draw, disturb, parse_draw
from mlink_hil.fuzz.limits import KINDS, Limits
from mlink_hil.wiring.table import TABLE, read_parts
from tests.support import ROOT
from tests.support.hil_examples import BENCHES

LAMP = BENCHES / "dut-firmware" / "firmware" / "lamp-good.hex"
BENCH = f"""
[devices]
uno = "virtual:uno?clock_ppm=50"
eye = "virtual:scene"

[modules.board]
type = "firmata-io"
device = "uno"

[modules.cam]
type = "camera-generic"
device = "eye"

[modules.finger]
type = "virtual-button"
device = "uno"
line = 3

[virtual.button]
type = "button"
line = "uno.7"

[virtual.pattern]
type = "button"
line = "uno.6"
bounce = {{ pattern_usec = [100, 200, 300, 400] }}

[virtual.lamp]
type = "chip"
firmware = "{LAMP}"
wires = {{ 8 = "uno.9", 9 = "uno.9" }}

[virtual.cable]
type = "wire"
ends = ["uno.4", "lamp.2"]
delay_usec = 10

[virtual.light]
type = "sensor"
line = "uno.A0"

[fuzz]
bounces = 3
bounce_usec = 500
wire_usec = 20
crystal_ppm = 200
phase_usec = 1000
drop = 0.01

[fuzz.settings]
"board.expect_usec" = {{ min = 1, max = 9 }}
"""
SEEDS = range(60)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    path = tmp_path / "bench.toml"
    path.write_text(BENCH.replace('"board.expect_usec"', '"virtual.light.hz"'))
    return path


def values(found: Disturbed) -> dict[str, object]:
    return {f"{each.kind} {each.name} {each.option}": each.value for each in found.drawn}


def test_a_seed_draws_the_same_each_time_and_another_one_something_else(bench: Path) -> None:
    first, again, other = (disturb(bench, Draw(seed)) for seed in (7, 7, 8))
    assert first.drawn == again.drawn
    assert first.bench.devices == again.bench.devices
    assert first.kinds == frozenset(KINDS)
    assert values(first).keys() == values(other).keys()
    assert values(first) != values(other)


def test_a_kind_that_is_off_changes_nothing_of_the_others(bench: Path) -> None:
    whole = values(disturb(bench, Draw(7)))
    for kind in KINDS:
        without = values(disturb(bench, Draw(7, frozenset(KINDS) - {kind})))
        assert without == {key: value for key, value in whole.items() if key.split()[0] != kind}
        assert values(disturb(bench, Draw(7, frozenset([kind])))) == {
            key: value for key, value in whole.items() if key.split()[0] == kind
        }
    assert disturb(bench, Draw(7, frozenset())).drawn == []


def test_draws_are_within_the_limits_of_the_bench_and_reach_far(bench: Path) -> None:
    found = [disturb(bench, Draw(seed)) for seed in SEEDS]
    parts = [read_parts(each.bench.tables[TABLE]) for each in found]

    def spread(least: float, most: float, drawn: list[float]) -> None:
        assert least <= min(drawn) < least + 0.2 * (most - least)
        assert most - 0.2 * (most - least) < max(drawn) <= most

    spread(0, 3, [each["button"].bounce.count for each in parts])
    spread(1, 500, [each["button"].bounce.longest_usec for each in parts])
    spread(0, 2, [each["pattern"].bounce.count for each in parts])
    spread(1, 400, [each["pattern"].bounce.longest_usec for each in parts])
    spread(-200, 200, [each["lamp"].clock_ppm for each in parts])
    spread(0, 1000, [each["lamp"].phase_usec for each in parts])
    spread(10, 30, [each["cable"].delay_usec for each in parts])
    spread(0, 20, [each["lamp"].delays_usec["8"] for each in parts])
    spread(1, 9, [each["light"].hz for each in parts])
    specs = [each.bench.devices["uno"].partition("?")[2].split("&") for each in found]
    spread(-150, 250, [float(text.partition("=")[2]) for text, _ in specs])
    spread(0, 1000, [float(text.partition("=")[2]) for _, text in specs])
    assert len({each["light"].seed for each in parts}) == len(SEEDS)
    assert len({each.bench.modules["finger"].settings.seed for each in found}) == len(SEEDS)
    (noise,) = found[0].bench.companions["faults"]
    assert noise["target"] == "uno"
    assert (noise["drop"], noise["corrupt"]) == (0.01, 0)


def test_two_wires_between_the_same_lines_are_not_both_delayed(bench: Path) -> None:
    text = bench.read_text().replace('ends = ["uno.4", "lamp.2"]', 'ends = ["uno.9", "lamp.8"]')
    bench.write_text(text.replace("delay_usec = 10\n", ""))
    load_bench(bench)
    delayed = [each.name for each in disturb(bench, Draw(3)).drawn if each.kind == "wires"]
    assert "virtual.lamp.delays_usec.9" in delayed  # the only way to its pin 9
    assert len(delayed) < 3


def test_the_order_and_the_draw_are_in_the_options_of_a_run(bench: Path) -> None:
    found = disturb(bench, Draw(7, frozenset(["order", "phases"])))
    options = found.options(RunOptions().in_time_of(found.bench, seed=7))
    assert options.virtual is not None
    assert options.virtual.order_seed is not None
    assert options.attributes["fuzz"] == "7:phases,order"
    with pytest.raises(BenchError, match="need virtual time"):
        found.options(RunOptions())


def test_a_bench_without_a_table_has_moderate_limits(tmp_path: Path) -> None:
    found = disturb(BENCHES / "dut-firmware", Draw(1))
    assert found.kinds == {"wires", "crystals", "phases", "order"}
    for each in found.drawn:
        assert str(each).startswith(each.name)


def test_a_draw_is_read_as_it_is_written() -> None:
    assert parse_draw("12") == Draw(12)
    assert parse_draw("12:") == Draw(12, frozenset())
    draw = Draw(12, frozenset(["order", "phases"]))
    assert str(draw) == "12:phases,order"
    assert parse_draw(str(draw)) == draw
    for text in ("", "x", "-1", "1.5", "²"):
        with pytest.raises(BenchError, match="is not a seed"):
            parse_draw(text)
    with pytest.raises(BenchError, match="no kind of disturbance 'phase'") as caught:
        parse_draw("12:phase")
    assert "phases" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fuzz]\ncrystal_ppm = 20000\n", "[fuzz] crystal_ppm: must be 0 to 10000"),
        ("[fuzz]\nbounces = -1\n", "[fuzz] bounces: must be 0 to 1000"),
        ("[fuzz]\ndrop = 2\n", "[fuzz] drop: must be 0 to 1"),
        ("[fuzz]\nwire_usec = nan\n", "[fuzz] wire_usec: must be 0 to 1000000"),
        ("[fuzz]\nphases = 3\n", "[fuzz] phases: unknown key"),
        ("fuzz = 3\n", "[fuzz]: '3' is not a table"),
        ('[fuzz.settings]\n"lamp.x" = [1]\n', "'lamp.x' is not the name of a setting"),
        ("[fuzz.settings]\nvirtual = [1]\n", "'virtual' is not the name of a setting"),
        ('[fuzz.settings]\n"virtual.light.hz" = []\n', "there is no value to choose"),
        ('[fuzz.settings]\n"virtual.light.hz" = {min = 2, max = 1}\n', "min is above max"),
        ('[fuzz.settings]\n"virtual.light.hz" = {min = 2, max = inf}\n', "must be finite"),
    ],
)
def test_a_wrong_table_is_an_error_in_words(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(
        text + BENCH.partition("[fuzz]")[0]
        if text[0] == "f"
        else (BENCH.partition("[fuzz]")[0] + text)
    )
    with pytest.raises(BenchError) as caught:
        load_bench(path)
    assert message in str(caught.value), str(caught.value)


def test_a_drawn_value_that_the_bench_refuses_is_named(bench: Path) -> None:
    bench.write_text(bench.read_text().replace("{ min = 1, max = 9 }", "[-1]"))
    with pytest.raises(BenchError, match="hz"):
        disturb(bench, Draw(1))


def test_a_bench_that_needs_real_time_is_refused_by_its_run(bench: Path) -> None:
    bench.write_text(bench.read_text().replace("virtual:uno?clock_ppm=50", "/dev/ttyACM0"))
    found = disturb(bench, Draw(1))
    assert not any(each.name == "uno" for each in found.drawn)
    with pytest.raises(BenchError, match="runs in real time only"):
        RunOptions().in_time_of(found.bench, seed=1)


def test_the_documented_limits_are_the_defaults() -> None:
    page = (ROOT / "docs/fuzz.md").read_text()
    (text,) = re.findall(r"```toml\n(\[fuzz\].*?)```", page, re.DOTALL)
    table = tomllib.loads(text)["fuzz"]
    settings = table.pop("settings")
    assert table == {key: getattr(Limits(), key) for key in table}
    assert set(table) | {"settings"} == set(Limits.__struct_fields__)
    assert len(msgspec.convert({"settings": settings}, Limits).settings) == 2
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(KINDS)
