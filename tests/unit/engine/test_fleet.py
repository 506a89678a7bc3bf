"""The fleet: what workers are forked with, their messages and exit codes, and the clean-up."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from mlink.control import Log, Output, Report
from mlink.engine import fleet as fleet_module
from mlink.engine.fleet import UNKNOWN_EXIT, Fleet, StreamDescriptors
from mlink.engine.workers import State
from mlink.errors import ControlError
from mlink.worker.forking.forkserver import Exited, Forked
from mlink.worker_spec import WorkerSpec
from tests.support.engine_fakes import FakeClock, FakeForkServer, FakeWorker


@pytest.fixture
def server(monkeypatch):
    made: list[FakeForkServer] = []

    def make(preload, folder, *, fixed_hashes):
        made.append(FakeForkServer(preload, folder))
        return made[0]

    monkeypatch.setattr(fleet_module, "ForkServer", make)
    return made


@pytest.fixture
def fleet(server, monkeypatch):
    """A fleet of the workers `a` and `b`, whose processes die of SIGKILL and of nothing else."""
    fleet = Fleet(["numpy"], Path("run"))
    killed: list[int] = []

    def kill(pid: int, number: int) -> None:
        if number == signal.SIGKILL:
            killed.append(pid)
            name = next(worker.name for worker in fleet.workers.values() if worker.pid == pid)
            server[0].report(Exited(name, pid, -signal.SIGKILL))

    monkeypatch.setattr(os, "kill", kill)
    fleet.killed = killed
    fleet.fakes = {name: FakeWorker(name) for name in "ab"}
    for fake in fleet.fakes.values():
        fleet.add(fake.handle)
    yield fleet
    if not server[0].closed:
        fleet.close()
    for fake in fleet.fakes.values():
        fake.close()


def events(fleet: Fleet) -> list:
    return [(worker.name, message) for worker, message in fleet.pump(0)]


def spec_of(name: str) -> WorkerSpec:
    return WorkerSpec(
        name=name, type_id="t", implementation="", settings_type="", inputs=(), outputs=(),
        bench_name="", bench_dir=".", work_dir=".", recording_dir=None,
        run_uuid=bytes(16), settings=b"",
    )  # fmt: skip


def forked(fleet: Fleet, server: list[FakeForkServer], *names: str) -> None:
    """Report these workers as forked, and drop their copies of the sockets as the kernel does."""
    server[0].report(*[Forked(name, 100 + ord(name)) for name in names])
    assert events(fleet) == []


def test_the_fork_server_imports_what_the_bench_needs(fleet, server):
    assert server[0].preload == ["numpy"]


def test_a_workers_spec_gives_the_position_of_each_descriptor(fleet, server):
    a = fleet.fakes["a"].handle
    fleet.fork(
        spec_of("a"),
        StreamDescriptors(
            pipes_out={"rows": [31, 34, 32, 35]},
            queues_out={"rows": [0, 10]},
            pipes_in={"commands": (33, 36)},
            arrays_out={"video": [41, 42, 43]},
            arrays_in={"frames": (51, 52, 53)},
        ),
    )
    ((spec, passed),) = server[0].requests
    own = [a.worker_sock.fileno(), a.doorbell.fileno(), a.output.write_fd]
    assert passed[:3] == own
    assert [passed[position] for position in spec.pipes_out["rows"]] == [31, 34, 32, 35]
    assert tuple(passed[position] for position in spec.pipes_in["commands"]) == (33, 36)
    assert spec.queues_out == {"rows": [0, 10]}
    assert [passed[position] for position in spec.arrays_out["video"]] == [41, 42, 43]
    assert tuple(passed[position] for position in spec.arrays_in["frames"]) == (51, 52, 53)
    assert len(passed) == 15


def test_messages_come_in_their_order_with_their_worker(fleet):
    fleet.fakes["b"].send(Log(20, "one"))
    fleet.fakes["b"].send(Log(20, "two"))
    fleet.fakes["a"].send(Log(20, "three"))
    got = events(fleet)
    assert [event for event in got if event[0] == "b"] == [
        ("b", Log(20, "one")),
        ("b", Log(20, "two")),
    ]
    assert ("a", Log(20, "three")) in got
    assert events(fleet) == []


def test_a_worker_that_sends_without_end_holds_up_nobody(fleet, server):
    forked(fleet, server, "a")
    pump = fleet.pump(0)
    fleet.fakes["a"].send(Log(20, "more"))
    for got, _ in enumerate(pump):
        fleet.fakes["a"].send(Log(20, "more"))
        assert got < 1000
    assert events(fleet) != []  # the rest


def test_children_that_hold_the_channel_of_an_exited_worker_hold_up_nobody(
    fleet, server, monkeypatch
):
    monkeypatch.setattr(fleet_module, "_AFTER_EXIT", 100)
    forked(fleet, server, "a")
    server[0].report(Exited("a", 197, 0))
    fleet.fakes["a"].send(Log(20, "more"))
    got = []
    for _, message in fleet.pump(0):
        got.append(message)
        fleet.fakes["a"].send(Log(20, "more"))
        assert len(got) < 1000
    assert got[-1] == 0


def test_a_forked_worker_has_its_process_id_and_its_socket_is_closed_here(fleet, server):
    forked(fleet, server, "a")
    handle = fleet.fakes["a"].handle
    assert handle.pid == 100 + ord("a")
    assert handle.worker_sock.fileno() == -1
    assert fleet.fakes["b"].handle.pid == 0


def test_the_last_messages_of_a_worker_come_before_its_exit_code(fleet, server):
    forked(fleet, server, "a")
    server[0].report(Exited("a", 197, 3))  # is there first
    fleet.fakes["a"].send(Log(40, "the end"))
    assert events(fleet) == [("a", Log(40, "the end")), ("a", 3)]


def test_messages_that_come_while_the_exit_code_is_read_are_not_lost(fleet, server):
    """poll() saw only the server: the channel filled afterwards."""
    forked(fleet, server, "a")
    server[0].report(Exited("a", 197, 3))
    pump = fleet.pump(0)
    fleet._poll.unregister(fleet.fakes["a"].handle.channel.fileno())
    fleet.fakes["a"].send(Log(40, "the end"))
    assert [message for _, message in pump] == [Log(40, "the end"), 3]


def test_an_exit_code_ends_the_worker(fleet, server):
    forked(fleet, server, "a")
    server[0].report(Exited("a", 197, -9))
    assert events(fleet) == [("a", -9)]
    handle = fleet.fakes["a"].handle
    assert (handle.exit_code, handle.state, handle.alive) == (-9, State.GONE, False)


def test_a_channel_that_the_worker_has_closed_is_no_longer_polled(fleet, server):
    forked(fleet, server, "a")
    fleet.fakes["a"].channel.close()
    assert events(fleet) == []
    assert fleet._poll.poll(0) == []
    server[0].report(Exited("a", 197, 0))
    assert events(fleet) == [("a", 0)]


def test_a_watched_descriptor_ends_the_wait(fleet):
    read_fd, write_fd = os.pipe()
    fleet.watch(read_fd)
    os.write(write_fd, b"x")
    assert list(fleet.pump(60)) == []
    fleet._poll.unregister(read_fd)
    os.close(read_fd)
    os.close(write_fd)


def test_closing_kills_what_still_runs_and_closes_everything(fleet, server):
    forked(fleet, server, "a", "b")
    server[0].report(Exited("a", 197, 0))
    events(fleet)
    fleet.close()
    assert fleet.killed == [100 + ord("b")]
    assert fleet.fakes["b"].handle.exit_code == -signal.SIGKILL
    assert server[0].closed
    assert fleet.fakes["a"].handle.channel.fileno() == -1


def test_the_end_of_a_with_block_closes(server):
    with Fleet([], Path()):
        pass
    assert server[0].closed


def test_closing_does_not_wait_for_a_worker_that_was_never_forked(fleet, server, monkeypatch):
    monkeypatch.setattr(fleet, "pump", lambda timeout_s: pytest.fail("waited") if timeout_s else [])
    fleet.close()
    assert fleet.killed == []
    assert server[0].closed


def test_a_process_that_survives_its_kill_does_not_hold_up_the_end(fleet, server, monkeypatch):
    """Such as one in an uninterruptible wait for its disk."""
    forked(fleet, server, "a")
    monkeypatch.setattr(os, "kill", lambda *_: None)
    clock = FakeClock()
    monkeypatch.setattr(fleet_module, "time", clock)
    waits: list[float] = []

    def pump(timeout_s):
        waits.append(timeout_s)
        assert len(waits) < 100
        clock.now += timeout_s
        return iter(())

    monkeypatch.setattr(fleet, "pump", pump)
    fleet.close()
    assert 3.0 <= sum(waits) <= 3.2
    assert server[0].closed


def test_a_fork_server_that_has_died_does_not_hold_up_the_end(fleet, server, monkeypatch):
    forked(fleet, server, "a")
    monkeypatch.setattr(os, "kill", lambda *_: None)
    server[0].fail(ControlError("the fork server ended unexpectedly"))
    fleet.close()
    assert server[0].closed


def test_without_a_fork_server_the_ends_of_workers_are_seen_all_the_same(fleet, server):
    """Nobody knows their exit codes then; one that was never forked has ended too."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    server[0].report(Forked("a", process.pid))
    assert events(fleet) == []
    server[0].fail(ControlError("the fork server ended unexpectedly"))
    with pytest.raises(ControlError):
        events(fleet)
    fleet.fakes["a"].send(Log(20, "drains"))
    assert events(fleet) == [("b", UNKNOWN_EXIT), ("a", Log(20, "drains"))]
    process.communicate()
    assert list(fleet.pump(60)) == [(fleet.workers["a"], UNKNOWN_EXIT)]
    assert not fleet.workers["a"].alive
    assert fleet.workers["a"].state is State.GONE


def test_a_server_that_has_forked_nothing_is_ended_at_once(fleet, server):
    server[0].end = lambda: fleet.killed.append("the server") or server[0].finish()
    fleet.close()
    assert fleet.killed == ["the server"]


def test_a_worker_that_was_forked_last_is_killed_too(fleet, server):
    server[0].report(Forked("b", 77))
    fleet.close()
    assert fleet.killed == [77]


def test_a_request_that_the_server_has_no_room_for_is_made_again(fleet, server):
    server[0].full = True
    assert not fleet.fork(spec_of("a"), StreamDescriptors())
    server[0].full = False
    assert fleet.fork(spec_of("a"), StreamDescriptors())
    assert [spec.name for spec, _ in server[0].requests] == ["a"]


def test_what_a_worker_writes_directly_comes_before_its_exit_code(fleet, server):
    output = fleet.fakes["a"].handle.output
    own = os.dup(output.write_fd)
    forked(fleet, server, "a")
    assert output.write_fd == -1
    os.write(own, b"free(): invalid pointer\nmore")
    server[0].report(Exited("a", 197, -6))
    assert events(fleet) == [
        ("a", Output("free(): invalid pointer")),
        ("a", Output("more")),
        ("a", -6),
    ]
    os.close(own)
    assert list(fleet.pump(0.1)) == []


def test_a_flood_is_read_at_intervals_and_left_out_with_its_number(fleet, monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(fleet_module.time, "monotonic", lambda: clock.now)
    fd = fleet.fakes["a"].handle.output.write_fd
    os.write(fd, b"y\n" * 30_000)
    first = events(fleet)
    os.write(fd, b"y\n" * 30_000)
    assert events(fleet) == []  # it waits: the writer is slowed
    fleet.fakes["b"].send(Log(20, "others do not"))
    assert events(fleet) == [("b", Log(20, "others do not"))]
    clock.now += 0.1
    got = first + events(fleet)
    lines = [each.text for _, each in got if isinstance(each, Output) and each.text == "y"]
    assert 1_500 < len(lines) < 3_000
    assert got[-1] == ("a", Report("directly written lines left out", 60_000 - len(lines)))


def test_what_is_left_behind_writes_last_is_kept(fleet, server):
    fd = os.dup(fleet.fakes["a"].handle.output.write_fd)
    os.write(fd, b"bye\n")
    os.close(fd)
    fleet.close()
    assert [(worker.name, message) for worker, message in fleet.last_events] == [
        ("a", Output("bye"))
    ]
