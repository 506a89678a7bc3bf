"""Run the boards, chips and parts of a `[virtual]` table: `python -m mlink_hil.sim.wired`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path

from mlink.errors import DeviceError
from mlink.realtime import request_priority, wake_on_time
from mlink.worker.place import SIMULATION, answer_for_place
from mlink_hil.control import messages
from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.circuit.build import Circuit
from mlink_hil.sim.plan import BoardPlan, CircuitPlan, read_plan
from mlink_hil.sim.server.adapter import make_adapter
from mlink_hil.sim.server.control_server import ControlServer
from mlink_hil.sim.server.lifetime import Lifetime
from mlink_hil.sim.server.lockstep import LockstepProgram
from mlink_hil.sim.server.pacer import CATCH_UP_USEC, Pacer
from mlink_hil.sim.server.program import REALTIME_PRIORITY, SLICE_USEC, BoardProgram, live
from mlink_hil.sim.server.pty_port import NoPort, Port, PtyPort
from mlink_hil.sim.server.served_board import BoardTime, ServedBoard, VirtualBoardTime
from mlink_hil.sim.server.socket_port import SocketPort
from mlink_hil.uno import CLOCK_HZ


def main() -> int:
    """Run the circuit of a plan until the end; return the exit code."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process is gone")
    parser.add_argument("--slice-usec", type=float, default=SLICE_USEC, metavar="µs")
    parser.add_argument(
        "--catch-up-usec",
        type=float,
        default=CATCH_UP_USEC,
        metavar="µs",
        help="longest delay that the boards make up for; more is skipped",
    )
    parser.add_argument(
        "--lockstep",
        type=Path,
        metavar="SOCKET",
        help="simulate in virtual time, at the requests of the engine that connects there",
    )
    arguments = parser.parse_args()
    lifetime = Lifetime(arguments.parent)
    wake_on_time()
    try:
        with ExitStack() as stack:
            plan = read_plan(arguments.plan, CircuitPlan)
            circuit = Circuit(plan)
            stack.callback(circuit.close)
            pacer = Pacer(CLOCK_HZ, arguments.slice_usec, catch_up_usec=arguments.catch_up_usec)
            lockstep: Path | None = arguments.lockstep
            scheduling = "virtual time"
            if lockstep is None:
                scheduling = request_priority(REALTIME_PRIORITY).detail
            boards = [
                _serve(circuit, board, pacer, scheduling, stack, in_turns=lockstep is not None)
                for board in plan.boards
            ]
            first, *others = (_ready(circuit, board, scheduling) for board in plan.boards)
            first.others.extend(others)
            program: BoardProgram | LockstepProgram
            if lockstep is None:
                program = BoardProgram(circuit.clock, boards, pacer, lifetime)
            else:
                answer_for_place(lockstep.parent, SIMULATION)
                named = list(zip((board.name for board in plan.boards), boards, strict=True))
                program = LockstepProgram(circuit.clock, named, pacer, lifetime, lockstep)
            live(program, first, circuit.start)
            if lifetime.ended:
                sys.stderr.write(f"{lifetime.reason}\n")
    except (DeviceError, BoardCrashed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _serve(
    circuit: Circuit,
    plan: BoardPlan,
    pacer: Pacer,
    scheduling: str,
    stack: ExitStack,
    *,
    in_turns: bool,
) -> ServedBoard:
    port: Port = NoPort()
    adapter = make_adapter(plan, in_turns=in_turns)
    if plan.tty:
        path = Path(plan.tty)
        port = stack.enter_context(
            SocketPort(path, adapter) if in_turns else PtyPort(path, adapter)
        )
    control = stack.enter_context(ControlServer(Path(plan.control)))
    node = circuit.nodes[plan.name]
    time = VirtualBoardTime(pacer, node, circuit.clock) if in_turns else BoardTime(pacer, node)
    board = circuit.boards[plan.name]
    return ServedBoard(node, board, circuit.clock, port, adapter, control, time, scheduling)


def _ready(circuit: Circuit, plan: BoardPlan, scheduling: str) -> messages.Ready:
    board = circuit.boards[plan.name]
    return messages.Ready(
        tty=plan.tty,
        control=plan.control,
        simulator=board.simulator,
        firmware=board.firmware,
        scheduling=scheduling,
    )


if __name__ == "__main__":
    sys.exit(main())
