"""The worked example led-follows-button passes as it is, and finds what is broken in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hil_examples import copy_example, run_pytest

pytestmark = pytest.mark.sim

ANSWER = "    led.set_value(1 if reading.value == 0 else 0)\n"
ROW = "    table.submit([reading.time_usec, reading.line_id, reading.value])\n"


LED, LIGHT = "led-follows-button", "camera-sees-light"


@pytest.mark.parametrize("kind", [pytest.param("virtual", marks=pytest.mark.any_pace), "real"])
@pytest.mark.parametrize(("example", "tests"), [(LED, 7), (LIGHT, 4)])
def test_the_example_passes_and_keeps_no_recording(
    tmp_path: Path, example: str, tests: int, kind: str
) -> None:
    folder = copy_example(tmp_path, example)
    # virtual is the default
    options = ["--mlink-time=real", "--mlink-inconclusive=skip"] if kind == "real" else []
    outcome = run_pytest(folder, *options)
    assert outcome.code == 0, outcome.text
    assert outcome.counts["passed"] + outcome.counts.get("inconclusive", 0) == tests
    assert kind == "real" or outcome.counts == {"passed": tests}
    assert f"mlink: {kind} time: {example}" in outcome.text
    assert not (folder / "recordings").exists()


NO_LIGHT = "no cam.video[468,348 24×24] going"


def fault(kind: str, target: str, **settings: object) -> tuple[str, str, str]:
    """Return the change of a bench file that adds a fault from the start of the run on."""
    lines = "".join(f"{key} = {str(value).lower()}\n" for key, value in settings.items())
    table = f'[[faults]]\nat_sec = 0\nkind = "{kind}"\ntarget = "{target}"\n{lines}\n'
    return "bench.toml", "[modules.board]", f"{table}[modules.board]"


MUTANTS: dict[str, tuple[str, tuple[str, str, str], str]] = {
    "5 ms late": (
        LED,
        ("bench.toml", 'script = "loop.py"', 'script = "loop.py"\ncost_usec = 5000'),
        "lower quartile = ",
    ),
    "5 ms late in real time": (
        LED,
        ("loop.py", ANSWER, "    import time; time.sleep(0.005)\n" + ANSWER),
        "lower quartile = ",
    ),
    "wrong line": (LED, ("loop.py", "LED_LINE = 8", "LED_LINE = 9"), "no rising edge on uno.8"),
    "inverted": (
        LED,
        ("loop.py", "1 if reading.value == 0 else 0", "reading.value"),
        "no rising edge on uno.8",
    ),
    "one edge in a thousand is lost": (
        LED,
        (
            "loop.py",
            ANSWER,
            "    readings.n = getattr(readings, 'n', 0) + 1\n    if readings.n != 777:\n    "
            + ANSWER,
        ),
        "edge on uno.8 within",
    ),
    "bounces": (
        LED,
        ("loop.py", ANSWER, ANSWER + "    led.set_value(0)\n" + ANSWER),
        "edge on uno.8 within",
    ),
    "flashes twice": (
        LED,
        ("loop.py", ROW, "    if reading.value: led.set_value(1); led.set_value(0)\n" + ROW),
        "edge on uno.8 within",
    ),
    "stays on": (
        LED,
        ("loop.py", "1 if reading.value == 0 else 0", "1"),
        "no rising edge on uno.8",
    ),
    "a row twice": (LED, ("loop.py", ROW, ROW + ROW), "not 40"),
    "rows in the wrong order": (
        LED,
        (
            "loop.py",
            ROW,
            "    held = readings.held = getattr(readings, 'held', [])\n"
            "    held.append([reading.time_usec, reading.line_id, reading.value])\n"
            "    while len(held) == 2: table.submit(held.pop()); table.submit(held.pop())\n",
        ),
        "times == sorted(times)",
    ),
    "stuck input": (
        LED,
        fault("stuck-line", "uno", line=7, level=True),
        "no rising edge on uno.8",
    ),
    "bytes are lost on the wire": (
        LED,
        fault("line-noise", "uno", drop=0.02),
        "edge on uno.8 within",
    ),
    "slow camera": (LED, ("bench.toml", "framerate = 30", "framerate = 29"), "not at 30 Hz"),
    "dark": (
        LIGHT,
        ("loop.py", "HwOutputLine(commands, 8)", "HwOutputLine(commands, 9)"),
        NO_LIGHT,
    ),
    "never goes out": (LIGHT, ("loop.py", "1 if reading.value == 0 else 0", "1"), NO_LIGHT),
    "frozen picture": (LIGHT, fault("freeze-picture", "eye"), NO_LIGHT),
    "late camera stamps": (LIGHT, fault("late-stamps", "eye", usec=60_000), "edge to frame = "),
}
"""What is wrong: the example, the file and its change, and what its tests report."""
REAL = {"5 ms late in real time"}
"""Faults that are none in virtual time: there a script's own computing takes none."""
LATER = {"slow camera": "frames_a_second"}
"""Faults that only a late test finds: it runs without those before it, which take seconds."""


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(each, marks=[] if each in REAL else pytest.mark.any_pace) for each in MUTANTS],
)
def test_a_deliberate_fault_is_found_by_the_examples_own_tests(mutant: str, tmp_path: Path) -> None:
    example, (file, old, new), reported = MUTANTS[mutant]
    folder = copy_example(tmp_path, example, file, old, new)
    options = ["-x", "--mlink-record=never", "--mlink-inconclusive=skip"]
    options += ["--mlink-time=real"] if mutant in REAL else []
    options += ["-k", LATER[mutant]] if mutant in LATER else []
    for _ in range(3):
        outcome = run_pytest(folder, *options)
        assert not outcome.counts.get("errors"), outcome.text
        if outcome.counts.get("failed"):
            break  # else this machine was too busy to decide: an undecided test finds nothing
    assert outcome.code == 1, outcome.text
    assert reported in outcome.text, outcome.text


@pytest.mark.any_pace
def test_a_frame_that_began_before_the_press_and_shows_its_light_decides(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, LIGHT)
    (folder / "test_light.py").write_text(
        """
import pytest

FRAME_USEC = 16_667

@pytest.mark.bench("bench.toml")
def test_it(bench, board, camera):
    place, straddled = camera.region(468, 348, 24, 24), 0
    for since_frame_usec in range(0, 700, 50):
        last = bench.run.history.last("cam.video").time_usec
        frames = (bench.now().time_usec - last) // FRAME_USEC + 2
        at_usec = last + frames * FRAME_USEC + since_frame_usec
        bench.wait((at_usec - bench.now().time_usec) / 1e6)
        press = board.line(7).drive(False)
        seen = bench.expect(place.brightens(above=40), within_usec=150_000, after=press)
        straddled += seen.time_usec < press.time_usec
        bench.expect(
            place.darkens(below=40), within_usec=150_000, after=board.line(7).release()
        )
        bench.wait(0.05)
    assert straddled
"""
    )
    outcome = run_pytest(folder, "--mlink-record=never")
    assert outcome.counts == {"passed": 1}, outcome.text
