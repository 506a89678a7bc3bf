"""The program of simulated boards in virtual time, without boards."""

from __future__ import annotations

import socket
from types import SimpleNamespace

from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.server.lockstep import LockstepProgram


def test_it_goes_on_until_its_end_when_the_engine_has_closed_its_socket(tmp_path):
    engine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    checks = []

    def check() -> None:
        checks.append(len(checks))
        engine.close()
        lifetime.ended = len(checks) == 3  # the engine was accepted, has gone, and a further look

    lifetime = SimpleNamespace(ended=False, check=check)
    path = tmp_path / "engine"
    program = LockstepProgram(CommonClock(), [], None, lifetime, path)
    engine.connect(str(path))
    program.run()
    program._listener.close()
    assert len(checks) == 3
