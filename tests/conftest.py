"""Fixtures and hooks of all tests: no real devices in unit tests, one rig, skips when busy."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.busy_host import BusyHost
from tests.support.fake_context import LOOPS

# CI machines are noisy: how long examples take depends on them, not on the code
settings.register_profile("mlink", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mlink")

# A shell that starts pytest in the background makes it ignore Ctrl-C, and all that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

UNIT_TESTS = Path(__file__).parent / "unit"
REAL_DEVICE = re.compile(r"/dev/(tty(ACM|USB|S)\d+|video\d+)")


class _DeviceGuard:
    """Remembers real devices that were opened while a unit test ran."""

    def __init__(self) -> None:
        self.active = False
        self.opened: list[str] = []

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        if event != "open" or not self.active or not isinstance(args[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(args[0])
        if REAL_DEVICE.fullmatch(path):
            self.opened.append(path)
            raise PermissionError(f"a unit test may not open {path}; use a pty or a fake")


_guard = _DeviceGuard()
sys.addaudithook(_guard.audit)  # cannot be taken away again, hence the switch


@pytest.fixture(autouse=True)
def no_real_devices(request):
    """Fail a unit test that opens a serial port or a camera of this machine."""
    if UNIT_TESTS not in request.path.parents:
        yield
        return
    _guard.opened.clear()
    _guard.active = True
    yield
    _guard.active = False
    # The error may have been swallowed on its way, as probing code does.
    assert not _guard.opened, f"the test opened real devices: {_guard.opened}"


@pytest.fixture(autouse=True)
def no_loop_stays():
    """Close what modules of a test have waited by: such a thread has a real-time priority."""
    yield
    while LOOPS:
        LOOPS.pop().close()


@pytest.fixture(autouse=True)
def scheduling_stays():
    """Fail a test that leaves this process at another priority, which all others inherit."""
    policy = os.sched_getscheduler(0)
    yield
    now = os.sched_getscheduler(0)
    if now != policy:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    assert now == policy, "the test left the test process at another scheduling policy"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the short unit tests last, so that no process waits long for the others at the end."""
    items.sort(key=lambda item: UNIT_TESTS in item.path.parents)


_host = BusyHost()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Count from here how busy the computer is."""
    _host.begin(first_phase=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the rig's tests in one process, also with `-n` alone."""
    if config.getoption("dist") != "load":
        return None
    from tests.support.one_rig import OneRig  # here, since xdist may be missing

    return OneRig(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    """Skip a real-time test that failed on a busy computer."""
    report = yield
    _host.excuse(report, item, call.excinfo.value if call.excinfo else None)
    return report
