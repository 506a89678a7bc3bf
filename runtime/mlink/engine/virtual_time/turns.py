"""Leads workers in virtual time through prepare, start and run, one turn after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns

from mlink import control
from mlink.devices import Reached, Simulation
from mlink.engine.virtual_time.conductor import NEVER_USEC, Conductor
from mlink.engine.virtual_time.moments import Moments
from mlink.engine.virtual_time.participant import Participant
from mlink.engine.virtual_time.turn_limit import DEVICES, Shares, TurnLimit
from mlink.engine.workers import State, WorkerHandle

_STEP_S = 0.25
_SIMULATED_USEC = 10_000_000
"""Longest time that is simulated in one turn: a turn has a limit in real time."""
_AFTER_USEC = 100_000
"""How long devices are simulated after the last module has finished: what it has sent last is on
its way to them."""
_LIMIT_USEC = 20_000_000
"""How long modules may wait after the end of a run; after that one is ended as in real time."""
_NEVER_REMEDY = "Wait in run() or on_data: while modules begin, none sends and no time passes."


class Turns:
    """Sends turns to workers in the conductor's order.

    Args:
        conductor: Decides whose turn is next.
        workers: The run's workers by module name.
        pump: Handles the workers' messages, for at most so many seconds.
        ending: Whether the run has to end.
        simulation: The simulated devices; None without any.
        users: Device → modules that use it.
        participant: A thread outside of the run that takes part in its time; None without one.
        limit: Ends turns that take too long; None without a limit.
        moments: What companions do while the run lasts; None without companions.
        shares: Adds up whose turns take the time.
    """

    def __init__(
        self,
        conductor: Conductor,
        workers: Mapping[str, WorkerHandle],
        pump: Callable[[float], None],
        ending: Callable[[], bool],
        simulation: Simulation | None = None,
        users: Mapping[str, Sequence[str]] | None = None,
        participant: Participant | None = None,
        limit: TurnLimit | None = None,
        moments: Moments | None = None,
        shares: Shares | None = None,
    ) -> None:
        self._conductor = conductor
        self._workers = workers
        self._pump = pump
        self._ending = ending
        self._simulation = simulation
        self._users = users or {}
        self._participant = participant
        self._limit = limit
        self._moments = moments
        self._shares = shares or Shares(lambda _module, _level, _text: None)
        self._phase = "prepare"
        self._end_usec = 0
        """Master time of the stop."""
        self._is_asked = False
        """Whether the simulation has not answered yet."""

    @property
    def _is_running(self) -> bool:
        return self._phase == "run"

    def prepare(
        self,
        order: Sequence[str],
        send_prepare: Callable[[WorkerHandle], None],
        fail: Callable[[WorkerHandle, str, str, str], None],
        limit_s: float,
    ) -> None:
        """Prepare the modules one by one; virtual time passes while one waits for its device.

        Args:
            order: Names of the modules, sources first.
            send_prepare: Sends Prepare to a worker.
            fail: Reports a failure: worker, phase, what happened, remedy.
            limit_s: Longest virtual time that may pass in one module's prepare().
        """
        for name in order:
            worker = self._workers[name]
            self._begin(worker, send_prepare)
            limit_usec = self._conductor.now_usec + round(limit_s * 1e6)
            while not self._ending() and (worker.state < State.PREPARED or worker.pending_acks):
                if not self._go_on() or self._conductor.now_usec > limit_usec:
                    text = "waits in prepare() for what never comes"
                    fail(worker, "prepare", text, _NEVER_REMEDY)
            if self._ending():
                return
            self._conductor.rest(name)

    def start(
        self,
        order: Sequence[str],
        send_start: Callable[[WorkerHandle], None],
        fail: Callable[[WorkerHandle, str, str, str], None],
        limit_s: float,
    ) -> None:
        """Start the modules in turns; time advances only if one waits while it starts.

        Args:
            order: Names of the modules, sources first.
            send_start: Sends Start to a worker.
            fail: Reports a failure: worker, phase, what happened, remedy.
            limit_s: Longest virtual time that may pass in one module's start().
        """
        conductor, self._phase = self._conductor, "start"
        for name in order:
            worker = self._workers[name]
            self._begin(worker, send_start)
            limit_usec = conductor.now_usec + round(limit_s * 1e6)
            while not self._ending() and (conductor.holder or worker.state < State.STARTED):
                if not self._go_on() or conductor.now_usec > limit_usec:
                    text = "waits in start() for an item or time that never comes"
                    fail(worker, "start", text, _NEVER_REMEDY)

    def run(self) -> bool:
        """Give turns until the run is over; return False if it has to end before."""
        self._phase = "run"
        self._conductor.pace_from_now()
        while not self._ending():
            if not self._go_on():
                self._conductor.finish()
                return True
        return False

    def begin_stop(self, given_up: Callable[[], bool]) -> None:
        """Let modules finish, which may wait for devices then.

        Args:
            given_up: Whether the engine has given up the wait for modules.
        """
        self._phase, self._ending = "stop", given_up
        self._end_usec = self._conductor.run_usec
        self._conductor.begin_stop()

    def go_on_at_stop(self, names: Sequence[str]) -> None:
        """Give the next turn at the stop, if all of these modules wait for one.

        Args:
            names: The modules that have not finished, and wait for no others.

        Raises:
            DeviceError: The simulation has ended.
        """
        conductor = self._conductor
        if not names or not all(map(conductor.waits, names)):
            return
        conductor.holder = None
        while conductor.holder is None and not self._ending():
            self._give()
        if (name := conductor.holder) and conductor.run_usec <= self._end_usec + _LIMIT_USEC:
            self._workers[name].deadline = None  # it has begun to wait for something else

    def simulate_the_rest(self) -> None:
        """Simulate on for a short time, so that devices have what was sent to them last.

        Raises:
            DeviceError: The simulation has ended.
        """
        conductor = self._conductor
        until_usec = conductor.now_usec + _AFTER_USEC
        while self._simulation is not None and conductor.simulated_usec < until_usec:
            self._simulate(self._simulation, until_usec, NEVER_USEC)
            if self._ending():
                return

    def abandon_devices(self) -> None:
        """Simulate no more: modules wait without devices."""
        self._simulation = None

    def _begin(self, worker: WorkerHandle, send: Callable[[WorkerHandle], None]) -> None:
        """Give the turn to a worker that enters a phase."""
        self._conductor.begin(worker.name)
        self._note_turn()
        worker.send(control.Turn(self._conductor.now_usec, enters=True))
        send(worker)

    def _go_on(self) -> bool:
        """Wait for who has the turn, or give the next; return False when there is none."""
        if holder := self._conductor.holder:
            self._pump(_STEP_S)
            if self._limit is not None and self._conductor.holder == holder:
                self._limit.check_worker(self._workers[holder], self._phase)
            return True
        if self._is_running and self._participant_has_turn():
            self._shares.begin()
            began_ns = monotonic_ns()
            self._pump(_STEP_S)
            self._conductor.stood(monotonic_ns() - began_ns)
            return True
        return self._give()

    def _note_turn(self) -> None:
        if self._limit is not None:
            self._limit.begin()

    def _participant_has_turn(self) -> bool:
        """Return whether the participant has the turn; it gets it when there are news."""
        participant = self._participant
        if participant is None:
            return False
        if not participant.has_turn and participant.has_news:
            participant.give(self._conductor.run_usec)
        return participant.has_turn

    def _give(self) -> bool:
        """Give the next turn when it is due; return False when there is none."""
        turn = self._conductor.next()
        time_usec = turn[1] if turn is not None else self._conductor.end_usec
        participant, stand_usec = self._participant if self._is_running else None, NEVER_USEC
        if participant is not None:
            stand_usec = participant.until_usec + self._conductor.zero_usec
        moment_usec = self._moment_before(time_usec)
        time_usec = time_usec if moment_usec is None else moment_usec
        simulated_usec = self._conductor.simulated_usec
        if self._simulation is not None and simulated_usec < min(time_usec, stand_usec):
            next_usec = (simulated_usec // _SIMULATED_USEC + 1) * _SIMULATED_USEC
            until_usec = min(time_usec, next_usec)  # the same wherever it has stood before
            self._simulate(self._simulation, until_usec, stand_usec)
            return True
        if self._moments is not None and moment_usec is not None and moment_usec <= stand_usec:
            if self._await(moment_usec):
                self._conductor.advance(moment_usec)
                self._moments.make_next()
            return True
        if participant is not None and stand_usec < time_usec:
            self._conductor.advance(stand_usec)
            participant.give(self._conductor.run_usec)
            return True
        if turn is None:
            return False
        name, time_usec = turn
        if not self._await(time_usec):
            return True
        self._conductor.give(name, time_usec)
        self._note_turn()
        self._shares.begin(name)
        self._shares.judge(self._conductor.now_usec)
        if self._participant is not None:
            self._participant.note_turn(name)
        self._workers[name].send(control.Turn(time_usec, self._conductor.free_until_usec))
        return True

    def _moment_before(self, time_usec: int) -> int | None:
        """Return when a companion acts next, if that is not after a time."""
        moment_usec = self._moments.next_usec if self._moments and self._is_running else None
        if moment_usec is None or moment_usec > time_usec:
            return None
        return max(moment_usec, self._conductor.now_usec)

    def _simulate(self, simulation: Simulation, until_usec: int, stand_usec: int) -> None:
        """Simulate the devices up to a time, until one has sent something, or where they stand."""
        if not self._is_asked:  # else the run was stopped meanwhile
            simulation.run_until(until_usec, stand_usec)
        self._is_asked = True
        self._note_turn()
        self._shares.begin(DEVICES)
        while (reached := simulation.reached()) is None:
            self._pump(_STEP_S)
            if self._ending():
                return
            if self._limit is not None:
                self._limit.check_devices(simulation)
        self._is_asked = False
        self._shares.begin()
        self._shares.judge(reached.time_usec)
        if self._await(reached.time_usec):
            self._conductor.simulated(reached.time_usec, self._woken(reached))
            if self._participant is not None:
                self._participant.note_sent(reached.woken)
                self._participant.note_halted(reached.halted)

    def _woken(self, reached: Reached) -> list[str]:
        """Return the modules that get a turn for what devices have sent."""
        using = [module for device in reached.woken for module in self._users.get(device, ())]
        if not reached.readers:
            return using
        pids = {module: worker.pid for module, worker in self._workers.items()}
        # Also those that do not use the device, such as a camera that it triggers.
        reading = [module for module, pid in pids.items() if pid in reached.readers]
        if reached.readers - {os.getpid(), *pids.values()}:  # such as a module's own process
            return list(dict.fromkeys([*using, *reading]))
        return reading

    def _await(self, time_usec: int) -> bool:
        """Wait until a time may begin, at a chosen speed; return False when the run ends."""
        while (left_s := self._conductor.left_s(time_usec)) > 0:
            self._shares.begin()
            self._pump(min(left_s, _STEP_S))
            if self._ending():
                return False
        return True
