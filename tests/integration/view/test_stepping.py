"""Steps through a run in virtual time, as pages ask for them: nothing of it is recorded."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Any

import pytest

import mlink
from tests.integration.view.test_program import Page, page_of
from tests.support.hil_examples import copy_example
from tests.support.shown_run import Served

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

FOR_S = 1.0


class Stepped(Served):
    """The example with a device under test, in virtual time, which stands at its start."""

    def __init__(self, folder: Path) -> None:
        copy_example(folder, "dut-firmware")
        arguments = ["--time", "virtual", "--seed", "1", "--for", f"{FOR_S}"]
        super().__init__(
            folder / "dut-firmware", "run", ".", *arguments,
            "--view", "--paused", "--plain", "--out", "out", "--order", "",
        )  # fmt: skip


def step(page: Page, act: str, **more: Any) -> dict[str, Any]:
    page.ask(kind="step", act=act, **more)
    return page.until("Stood")


def look(page: Page, chip: str, **more: Any) -> dict[str, Any]:
    page.ask(kind="look", chip=chip, **more)
    return page.until("Looked")


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def test_a_page_steps_and_looks_into_chips_and_the_run_records_the_same_bytes(
    tmp_path: Path,
) -> None:
    shown = Stepped(tmp_path)
    with page_of(shown) as page:
        stood = page.next()["stood"] or page.until("Stood")
        assert (stood["time_usec"], stood["stands"]) == (0, True)
        assert sorted(stood["chips"]) == ["lamp", "uno"]
        assert step(page, "until", time_usec=250_000)["time_usec"] == 250_000
        assert step(page, "for", time_usec=1_500)["time_usec"] == 251_500
        edge = step(page, "edge", chip="lamp", pin=13, which="rising", time_usec=10_000_000)
        assert edge["edge"] == "pin 13 rose"
        assert edge["time_usec"] > 251_500

        lamp = look(page, "lamp", address=0x100, length=16)
        assert lamp["time_usec"] == edge["time_usec"]
        pins = {each["number"]: each for each in lamp["pins"]}
        assert (pins[13]["level"], pins[13]["output"]) == (True, True)
        assert lamp["registers"]["PORTB"] & 0x20
        assert len(bytes.fromhex(lamp["memory"])) == 16

        back = step(page, "until", time_usec=1_000)
        assert "a whole number of µs is needed" in back["error"]
        assert back["stands"]
        assert "no simulated chip 'lmap'" in look(page, "lmap")["error"]
        assert "99" in step(page, "edge", chip="lamp", pin=99)["error"]
        for elf in ("../secret.elf", "/etc/passwd", "none.elf"):
            assert "no file" in look(page, "lamp", elf=elf, symbols=["main"])["error"]
        with page_of(shown, shown.guest_url) as guest:
            assert guest.next()["stood"]["stands"]
            assert "may only look" in step(guest, "go")["error"]
        assert step(page, "go")["stands"] is False
        assert page.until("Ended")["success"]
    text = shown.end()
    shown.close()
    assert shown.process.returncode == 0, text

    folder = tmp_path / "dut-firmware"
    bench = mlink.load_bench(folder, time="virtual")
    plain = mlink.run(bench, duration_s=FOR_S, seed=1, out=tmp_path / "plain")
    assert plain.recording_dir is not None
    first, second = files_of(plain.recording_dir), files_of(folder / "out" / "recording")
    assert sorted(first) == sorted(second)
    different = [name for name in first if not filecmp.cmp(first[name], second[name], False)]
    assert different == ["attributes.toml"]  # it names the view among the modules
