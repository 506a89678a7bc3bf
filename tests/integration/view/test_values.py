"""Values that scripts offer and controls of cameras: set by a page, recorded, and replayed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from mlink import recording
from mlink.replay import compare, replay
from tests.integration.view.test_program import page_of
from tests.support.shown_page import AXE, api, assert_everybody_can_use_it
from tests.support.shown_run import LIMIT_S, Shown

BENCH = """
[bench]
name = "offered"
[modules.src]
type = "devel.datasource"
fps = 30
[modules.loop]
type = "pyscript"
script = "loop.py"
inputs = { readings = "src.linerd-out" }
ports_in = [{ id = "readings", data_type = "LineReading" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.kept]
type = "table"
inputs = { rows = "loop.out" }
"""
SCRIPT = """
import syntalos_mlink as syl
import mlink.script as ms
out = syl.get_output_port("out")
def changed(value):
    out.submit(["changed", syl.time_since_start_usec()])
threshold = ms.offer("threshold", 512, minimum=0, maximum=1023, unit="counts", on_change=changed)
lamp = ms.offer("lamp on", False)
def on_reading(reading):
    out.submit([reading.time_usec, threshold.value])
syl.get_input_port("readings").on_data = on_reading
"""


def write_bench(folder: Path) -> None:
    (folder / "bench.toml").write_text(BENCH)
    (folder / "loop.py").write_text(SCRIPT)


def offered(folder: Path, *options: str) -> Shown:
    write_bench(folder)
    return Shown(folder, *options)


def test_in_virtual_time_a_change_is_an_input_of_the_run_which_a_replay_repeats(
    tmp_path: Path,
) -> None:
    loop = {"target": "loop.@values", "command": "set"}
    options = ("--time", "virtual", "--paused", "--replayable", "--view-control", "--for", "4")
    with closing(offered(tmp_path, *options)) as shown, page_of(shown) as page:
        welcome = page.next()
        assert [each["target"] for each in welcome["bench"]["targets"]] == ["loop.@values"]
        _ = welcome["stood"] or page.until("Stood")
        page.ask(kind="step", act="until", time_usec=1_000_000)
        page.until("Stood", lambda each: each["time_usec"] == 1_000_000)
        page.ask(kind="act", **loop, text="threshold=600")  # while time stands
        page.ask(kind="act", **loop, text="threshold=6000")
        page.ask(kind="act", target="kept.rows", command="stop")
        page.ask(kind="step", act="go")
        ends = [page.until("Acted") for _ in range(3)]
        refused = [each.get("refused", "") for each in ends]
        page.until("Ended")
        assert shown.process.wait() == 0, shown.end()
    assert "cannot be commanded in this run" in refused[0]
    assert refused[1] == ""
    assert "out of its bounds, 0 to 1023 counts: 6000" in refused[2]
    assert ends[1]["taken_usec"] >= 1_000_000
    run = tmp_path / "out/recording"
    with recording.open(run) as found:
        commands = found["view-commands"].rows
        rows = found["loop"].rows
    assert [row[3] for row in commands if row[8] == ""] == ["set threshold=600"]
    assert commands[0][7] == "owner at 127.0.0.1"
    assert ["changed", str(ends[1]["taken_usec"])] in rows
    assert {row[1] for row in rows if row[0] != "changed"} == {"512", "600"}
    again = replay(run, bench=tmp_path, out_dir=tmp_path / "again").recording
    assert [each.difference for each in compare(run, again)] == ["", ""]
    third = replay(again, bench=tmp_path, out_dir=tmp_path / "third").recording
    assert [each.difference for each in compare(run, third)] == ["", ""]


def test_a_run_whose_values_nobody_changes_is_the_same_without_a_page(tmp_path: Path) -> None:
    tables = []
    for name, options in (("plain", ()), ("shown", ("--view", "--view-control"))):
        (folder := tmp_path / name).mkdir()
        write_bench(folder)
        given = ["--time", "virtual", "--replayable", "--for", "3", "--out", "out", "--order", ""]
        subprocess.run(
            [sys.executable, "-m", "mlink", "run", "bench.toml", *given, *options],
            cwd=folder, capture_output=True, timeout=LIMIT_S, check=True,
        )  # fmt: skip
        with recording.open(folder / "out/recording") as found:
            tables.append(found["loop"].rows)
    assert tables[0] == tables[1]
    assert len(tables[0]) >= 3


def test_a_browser_shows_and_sets_a_value_and_a_later_page_sees_it(page, tmp_path: Path) -> None:
    with closing(offered(tmp_path, "--view-control")) as shown:
        page.goto(shown.url)
        values = page.get_by_role("article", name="control loop: values")
        row = values.get_by_role("row").filter(has_text="threshold")
        api.expect(row).to_contain_text("512 counts")
        api.expect(row).to_contain_text("0 – 1023")
        api.expect(values.get_by_role("button", name="set threshold")).to_be_enabled()
        new = values.get_by_role("spinbutton", name="new value of threshold")
        new.fill("600")
        new.press("Enter")
        api.expect(row).to_contain_text("600 counts")
        new.fill("6000")  # the browser says why itself
        new.press("Enter")
        values.get_by_role("combobox", name="new value of lamp on").select_option("true")
        values.get_by_role("button", name="set lamp on").click()
        done = page.get_by_role("region", name="commands that were given").get_by_role("row")
        api.expect(done.filter(has_text="set lamp on=true")).to_contain_text("taken")
        api.expect(done.filter(has_text="6000")).to_have_count(0)
        if AXE.is_file():
            assert_everybody_can_use_it(page, "values")
        page.reload()
        api.expect(row).to_contain_text("600 counts")
        page.goto(shown.guest_url)
        api.expect(page.get_by_role("region", name="commands that were given")).to_be_visible()
        api.expect(values).to_have_count(0)
