"""The life of a script: which of its functions are called when, and what ends a run."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import syntalos_mlink as syl
from mlink.errors import ScriptError
from mlink.testing import ScriptRunner
from tests.support.scripts import MakeRunner

FUNCTIONS = ("prepare", "start", "run", "stop")


def with_functions(bodies: dict[str, str]) -> str:
    text = "calls = []\n"
    for name, body in bodies.items():
        text += f"{body}\n" if "\n" in body or "=" in body else f"def {name}():\n    {body}\n"
    return text


ALL_SUBSETS = [subset for count in range(5) for subset in itertools.combinations(FUNCTIONS, count)]


@pytest.mark.parametrize("there", ALL_SUBSETS, ids=lambda subset: "+".join(subset) or "nothing")
@pytest.mark.parametrize("otherwise", ["missing", "None"])
def test_any_function_may_be_missing_or_none(
    make: MakeRunner, there: tuple[str, ...], otherwise: str
) -> None:
    bodies = {name: f"calls.append('{name}')" for name in there}
    if otherwise == "None":
        bodies |= {name: f"{name} = None" for name in FUNCTIONS if name not in there}
    runner = make(with_functions(bodies))
    runner.start()
    runner.run_for(1000)
    assert runner.is_running
    runner.stop()
    assert runner.globals["calls"] == list(there)


def test_text_is_executed_once_in_its_own_folder(make: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 7")
    runner = make(
        """
        import os, sys
        import beside
        folder, name, argv = os.getcwd(), __name__, sys.argv
        port = syl.get_output_port("rows-out")
        line = syl.HwOutputLine(syl.get_output_port("commands-out"), 8)
        """
    )
    runner.prepare()
    found = runner.globals
    assert found["folder"] == str(tmp_path)
    assert found["name"] == "__main__"
    assert found["argv"] == [str(tmp_path / "script.py")]
    assert found["beside"].VALUE == 7


class TestPrepare:
    @pytest.mark.parametrize("value", ["None", "True", "1", "'yes'", "object()"])
    def test_success(self, make: MakeRunner, value: str) -> None:
        make(f"def prepare(): return {value}").start()

    @pytest.mark.parametrize("value", ["False", "0", "''", "[]"])
    def test_explicit_false_value_refuses_the_run(self, make: MakeRunner, value: str) -> None:
        with pytest.raises(ScriptError, match=r"prepare\(\) returned"):
            make(f"def prepare(): return {value}").start()

    def test_nothing_can_be_sent_and_no_time_runs(self, make: MakeRunner) -> None:
        runner = make(
            """
            def prepare():
                global time, running
                time, running = syl.time_since_start_usec(), syl.is_running()
                syl.get_output_port("rows-out").submit([1])
            """
        )
        with pytest.raises(ScriptError, match="the run has not started"):
            runner.start()
        assert (runner.globals["time"], runner.globals["running"]) == (0, False)


class TestStart:
    def test_run_is_on_and_sending_allowed(self, make: MakeRunner) -> None:
        runner = make(
            """
            def start():
                syl.get_output_port("rows-out").submit([syl.is_running()])
            """
        )
        runner.start()
        assert runner.sent("rows-out") == [["True"]]


class TestRun:
    def test_script_without_it_gets_data_until_the_stop(self, make: MakeRunner) -> None:
        runner = make("seen = []; syl.get_input_port('rows-in').on_data = seen.append")
        runner.start()
        runner.feed("rows-in", ["a"])
        runner.run_for(5_000_000)
        runner.feed("rows-in", ["b"])
        assert runner.globals["seen"] == [["a"], ["b"]]

    def test_script_whose_run_returns_early_is_served_on(self, make: MakeRunner) -> None:
        runner = make(
            """
            seen = []
            syl.get_input_port('rows-in').on_data = seen.append
            def run():
                syl.wait(5)
            """
        )
        runner.start()
        runner.run_for(1_000_000)
        runner.feed("rows-in", ["late"])
        assert runner.is_running
        assert runner.globals["seen"] == [["late"]]

    @pytest.mark.parametrize(
        "body",
        [
            "while syl.is_running(): syl.await_data()",
            "while syl.is_running(): syl.await_data(1000)",
            "while syl.is_running(): syl.await_data(0)",
            "while syl.is_running(): pass",
            "syl.await_data()",
        ],
    )
    def test_loop_ends_at_the_stop(self, make: MakeRunner, body: str) -> None:
        runner = make(with_functions({"run": f"{body}; calls.append('end')\n".strip()}))
        runner.start()
        runner.run_for(100_000)
        assert runner.is_running
        runner.stop()
        assert runner.time_usec == 100_000

    @pytest.mark.parametrize(
        ("body", "end_usec"),
        [
            ("while syl.is_running(): syl.wait(7)", 105_000),
            ("while syl.is_running(): syl.wait_sec(1)", 1_000_000),
            ("syl.wait_sec(3600)", 3_600_000_000),
        ],
    )
    def test_a_wait_lasts_its_whole_time_after_the_stop_too(
        self, make: MakeRunner, body: str, end_usec: int
    ) -> None:
        runner = make(with_functions({"run": f"{body}; calls.append('end')"}))
        runner.start()
        runner.run_for(100_000)
        runner.stop()
        assert runner.time_usec == end_usec

    def test_waits_last_in_prepare_and_stop_with_delayed_calls_in_them(
        self, make: MakeRunner
    ) -> None:
        runner = make(
            """
            calls = []
            def note(what):
                calls.append((what, syl.time_since_start_usec()))
            syl.schedule_delayed_call(300, lambda: note("in run"))
            syl.schedule_delayed_call(50, lambda: note("in prepare"))
            syl.wait(100)
            def prepare():
                syl.wait(100)
                note("prepared")
            def run():
                while syl.is_running():
                    syl.await_data(1000)
            def stop():
                syl.schedule_delayed_call(20, lambda: note("in stop"))
                syl.wait(300)
                note("stopped")
            """
        )
        runner.start()
        runner.run_for(200_000)
        runner.stop()
        assert runner.globals["calls"] == [
            ("in prepare", 0),
            ("prepared", 0),
            ("in run", 100_000),
            ("in stop", 220_000),
            ("stopped", 500_000),
        ]

    @pytest.mark.parametrize(
        "call", ["await_data()", "await_data(1000)", "wait(10)", "wait_sec(1)"]
    )
    def test_loop_that_does_not_ask_is_interrupted_at_its_line(
        self, make: MakeRunner, call: str
    ) -> None:
        runner = make(f"def run():\n    while True:\n        syl.{call}\n")
        runner.start()
        runner.run_for(100_000)
        with pytest.raises(ScriptError, match=r"script.py:4: syl\.") as caught:
            runner.stop()
        assert "interrupted" in str(caught.value)
        assert "is_running()" in str(caught.value)


class TestStop:
    def test_may_send_and_is_called_when_all_has_arrived(self, make: MakeRunner) -> None:
        runner = make(
            """
            rows = syl.get_output_port("rows-out")
            syl.get_input_port("rows-in").on_data = rows.submit
            def run():
                while syl.is_running():
                    syl.await_data(1000)
            def stop():
                rows.submit(["end", syl.is_running()])
            """
        )
        runner.start()
        runner.feed("rows-in", ["a"], at_usec=500)
        runner.run_for(500)
        runner.stop()
        assert runner.sent("rows-out") == [["a"], ["end", "False"]]

    def test_is_called_after_errors_too(self, make: MakeRunner) -> None:
        runner = make(
            """
            calls = []
            def on_data(row):
                raise ValueError("bad row")
            syl.get_input_port("rows-in").on_data = on_data
            def stop():
                calls.append("stop")
                syl.get_output_port("rows-out").submit(["end"])
            """
        )
        runner.start()
        with pytest.raises(ScriptError, match="bad row"):
            runner.feed("rows-in", ["a"])
        runner.stop()
        assert runner.globals["calls"] == ["stop"]
        assert runner.sent("rows-out") == [["end"]]

    def test_afterwards_nothing_of_the_script_is_called(self, make: MakeRunner) -> None:
        runner = make(
            """
            def again():
                syl.get_output_port("rows-out").submit([1])
                syl.schedule_delayed_call(10, again)
            def start():
                again()
            """
        )
        runner.start()
        runner.run_for(25_000)
        runner.stop()
        assert runner.sent("rows-out") == [["1"]] * 3


def whole_life(runner: ScriptRunner) -> None:
    runner.start()
    runner.feed("rows-in", ["x"])
    runner.run_for(20_000)
    runner.stop()


ENDINGS = {
    "raise ValueError('seven')": "ValueError: seven",
    "raise SystemExit(3)": r"exit\(3\)",
    "raise SystemExit(143)": "SIGTERM",
    "import sys; sys.exit()": r"exit\(\)",
    "raise KeyboardInterrupt": "interrupted",
    "assert 1 == 2, 'odd'": "AssertionError: odd",
    "raise GeneratorExit": "GeneratorExit",
    "1 / 0": "ZeroDivisionError",
}


@pytest.mark.parametrize("place", ["module", *FUNCTIONS, "on_data", "delayed"])
@pytest.mark.parametrize("statement", ENDINGS)
def test_what_ends_a_script_is_reported_with_its_line(
    make: MakeRunner, place: str, statement: str
) -> None:
    text = f"def fall(*args):\n    {statement}\n"
    text += {
        "module": "fall()",
        "on_data": "syl.get_input_port('rows-in').on_data = fall",
        "delayed": "def start():\n    syl.schedule_delayed_call(10, lambda: fall())",
    }.get(place, f"def {place}():\n    fall()")
    runner = make(text)
    with pytest.raises(ScriptError, match=ENDINGS[statement]) as caught:
        whole_life(runner)
    assert str(caught.value).split("\n")[0].endswith(f"script.py:3: {statement}")


@pytest.mark.parametrize("place", FUNCTIONS)
def test_raise_error_fails_the_run_with_its_text(make: MakeRunner, place: str) -> None:
    runner = make(f"def {place}():\n    syl.raise_error('the lever is stuck')\n")
    with pytest.raises(ScriptError, match="the lever is stuck"):
        whole_life(runner)


def test_after_raise_error_the_run_is_over(make: MakeRunner) -> None:
    runner = make(
        """
        running = []
        def run():
            syl.wait(10)
            syl.raise_error("enough")
            running.append(syl.is_running())
        """
    )
    runner.start()
    with pytest.raises(ScriptError, match="enough"):
        runner.run_for(10_000)
    assert runner.globals["running"] == [False]
    assert not runner.is_running


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("wrong", ["def {}(module): pass", "{} = 5"])
def test_function_with_wrong_arguments_is_reported(make: MakeRunner, name: str, wrong: str) -> None:
    runner = make(wrong.format(name))
    with pytest.raises(ScriptError, match=rf"'{name}' must be a function"):
        whole_life(runner)


@pytest.mark.parametrize(
    "call",
    [
        lambda: syl.get_input_port("a"),
        lambda: syl.get_output_port("a"),
        syl.time_since_start_msec,
        syl.time_since_start_usec,
        syl.is_running,
        syl.await_data,
        lambda: syl.wait(1),
        lambda: syl.wait_sec(1),
        lambda: syl.schedule_delayed_call(1, print),
        lambda: syl.raise_error("x"),
        lambda: syl.println("x"),
    ],
)
def test_without_a_link_every_call_raises_with_a_remedy(call: object) -> None:
    assert callable(call)
    with pytest.raises(syl.SyntalosPyError, match=r"init_link\(\)"):
        call()


def test_println_and_print_write_lines(
    make: MakeRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    make("def start():\n    syl.println('one')\n    print('two')\n").start()
    assert capsys.readouterr().out == "one\ntwo\n"


def test_a_script_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As editors on Windows write it."""
    path = tmp_path / "s.py"
    path.write_bytes(b"\xef\xbb\xbfdef prepare():\r\n    print('ready')\r\n")
    with ScriptRunner(path) as runner:
        runner.prepare()
