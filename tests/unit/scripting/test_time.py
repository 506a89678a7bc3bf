"""Time in scripts: delayed calls, waiting, and what is served meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.errors import ScriptError
from mlink.modules.script.settings import ScriptSettings
from mlink.scripting.link import ScriptLink
from mlink.testing.context import RunnerContext
from tests.support.scripts import MakeRunner


class TestDelayedCalls:
    def test_are_made_at_their_time(self, make: MakeRunner) -> None:
        runner = make(
            """
            times = []
            def note():
                times.append(syl.time_since_start_usec())
            def start():
                for delay in (30, 10, 20, 0):
                    syl.schedule_delayed_call(delay, note)
            """
        )
        runner.start()
        runner.run_for(29_999)
        assert runner.globals["times"][1:] == [10_000, 20_000]
        runner.run_for(1)
        assert runner.globals["times"][1:] == [10_000, 20_000, 30_000]

    def test_failing_before_the_start_ends_the_run_too(
        self, make: MakeRunner, tmp_path: Path
    ) -> None:
        context = RunnerContext("s", ScriptSettings(script="x"), tmp_path, {}, lambda: None)
        link = ScriptLink(context)
        link.call_later(0, lambda: 1 / 0)
        context.clock.advance(1000)
        context.dispatch_due()
        assert "ZeroDivisionError" in str(context.failure)

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            ("(-1, print)", "must not be negative"),
            ("(float('nan'), print)", "must be a number"),
            ("('soon', print)", "delay_msec .* must be a number"),
            ("(1, None)", "must be a function"),
            ("(1, lambda x: x)", "no argument"),
        ],
    )
    def test_wrong_calls_are_refused(self, make: MakeRunner, call: str, words: str) -> None:
        with pytest.raises(ScriptError, match=words):
            make(f"def start(): syl.schedule_delayed_call{call}").start()


class TestWaiting:
    @pytest.mark.parametrize(
        ("call", "usec"), [("wait(12)", 12_000), ("wait_sec(2)", 2_000_000), ("await_data(70)", 70)]
    )
    def test_takes_its_time(self, make: MakeRunner, call: str, usec: int) -> None:
        runner = make(
            f"def run():\n    global end\n    syl.{call}\n    end = syl.time_since_start_usec()\n"
        )
        runner.start()
        runner.run_for(10_000_000)
        assert runner.globals["end"] == usec

    @pytest.mark.parametrize("call", ["wait('a')", "wait_sec(None)", "await_data('x')"])
    def test_needs_a_number(self, make: MakeRunner, call: str) -> None:
        with pytest.raises(ScriptError, match="must be a number") as caught:
            make(f"def run(): syl.{call}").start()
        assert "SyntalosPyError" in str(caught.value)

    def test_serves_data_meanwhile(self, make: MakeRunner) -> None:
        runner = make(
            """
            seen = []
            syl.get_input_port("rows-in").on_data = (
                lambda row: seen.append(syl.time_since_start_msec()))
            def run():
                syl.wait(100)
            """
        )
        runner.start()
        runner.feed("rows-in", ["a"], at_usec=33_000)
        runner.run_for(200_000)
        assert runner.globals["seen"] == [33]

    def test_await_data_ends_with_the_first_arrival(self, make: MakeRunner) -> None:
        runner = make(
            """
            def run():
                global end
                syl.await_data(100_000)
                end = syl.time_since_start_usec()
            """
        )
        runner.start()
        runner.feed("rows-in", ["a"], at_usec=33_000)
        runner.run_for(200_000)
        assert runner.globals["end"] == 33_000
