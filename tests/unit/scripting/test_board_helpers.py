"""`mlink.script`: commands to a board with mlink's firmware, and what is refused."""

import numpy as np
import pytest

import mlink.script as ms
from mlink.errors import MlinkError, ModuleError
from mlink.types import LineCommandKind


class Port:
    def __init__(self):
        self.sent = []

    def submit(self, command):
        self.sent.append(command)


@pytest.fixture
def port():
    return Port()


def test_each_helper_sends_one_command_to_its_line_and_returns_it(port):
    pulse = ms.ReflexAction.PULSE_HIGH
    commands = [
        ms.pulse_train(port, 9, width_usec=500, period_usec=2000, count=100),
        ms.stop_pulses(port, 9),
        ms.set_reflex(port, 0, trigger=7, output=8, action=pulse, width_usec=1000),
        ms.remove_reflex(port, 0),
        ms.watch_edges(port, 7, ms.Edges.RISING),
        ms.safe_state(port, 500, {8: False}),
    ]
    assert port.sent == commands
    assert {command.kind for command in commands} == {LineCommandKind.DEVICE_SPECIFIC}
    assert [command.line_id for command in commands] == [9, 9, 7, 0, 7, 0]


def test_numbers_may_be_numpys(port):
    ms.pulse_train(port, np.int64(9), width_usec=np.int32(500), period_usec=np.int64(2000))
    assert len(port.sent) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: ms.pulse_train(p, 9, width_usec=500, period_usec=400), "cannot be made"),
        (lambda p: ms.pulse_train(p, 9, width_usec=0, period_usec=400), "width_usec cannot be 0"),
        (lambda p: ms.pulse_train(p, 9, width_usec=1.5, period_usec=400), "cannot be 1.5"),
        (lambda p: ms.pulse_train(p, 9, width_usec=5, period_usec=400, count=-1), "count cannot"),
        (lambda p: ms.pulse_train(p, 200, width_usec=5, period_usec=400), "line_id cannot be 200"),
        (
            lambda p: ms.pulse_train(p, 9, width_usec=5, period_usec=400, start_usec=-2),
            "start_usec cannot be -2",
        ),
        (
            lambda p: ms.set_reflex(p, 300, trigger=7, output=8, action=ms.ReflexAction.HIGH),
            "index cannot be 300",
        ),
        (
            lambda p: ms.set_reflex(
                p, 0, trigger=7, output=8, action=ms.ReflexAction.PULSE_LOW, width_usec=10
            ),
            "a pulse of 10 µs",
        ),
        (
            lambda p: ms.set_reflex(
                p, 0, trigger=7, output=8, action=ms.ReflexAction.HIGH, condition=(400, True)
            ),
            "a line cannot be 400",
        ),
        (
            lambda p: ms.set_reflex(p, 0, trigger=7, output=8, action="HIGH"),
            "action cannot be 'HIGH'",
        ),
        (
            lambda p: ms.set_reflex(
                p, 0, trigger=7, output=8, action=ms.ReflexAction.HIGH, condition=7
            ),
            "condition cannot be 7",
        ),
        (lambda p: ms.watch_edges(p, 7, "RISING"), "edges cannot be 'RISING'"),
        (lambda p: ms.safe_state(p, 5), "timeout_msec cannot be 5"),
        (
            lambda p: ms.safe_state(p, 600_001),
            "timeout_msec cannot be 600001",
        ),
        (lambda p: ms.remove_reflex(p, None), "index cannot be None"),
        (lambda p: ms.safe_state(p, 900_000), "timeout_msec cannot be 900000"),
        (lambda p: ms.safe_state(p, 500, {-1: True}), "a line cannot be -1"),
        (lambda _: ms.stop_pulses(None, 9), "not NoneType"),
    ],
)
def test_values_out_of_range_are_refused_with_a_remedy(port, call, message):
    with pytest.raises(ModuleError, match=message) as caught:
        call(port)
    assert isinstance(caught.value, MlinkError)
    assert caught.value.remedy
    assert port.sent == []
