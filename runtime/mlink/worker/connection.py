"""A worker's connection to its engine: its spec, control channel, doorbells and pipes.

A forked worker receives them from the fork server. A standalone module is a program of its own:
the forked process becomes it by exec, with the descriptors open and listed in its environment.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

import mlink
from mlink import control
from mlink.channel import Channel, worker_channel
from mlink.control import EngineMessages
from mlink.errors import ControlError
from mlink.scripting.backend import BACKEND_VARIABLE as BACKEND
from mlink.transport.doorbell import Doorbell
from mlink.worker.output import LineSender, redirect_output
from mlink.worker.place import answer_for_place
from mlink.worker_spec import WorkerSpec

ENVIRONMENT = "MLINK_WORKER_FDS"
"""Comma-separated descriptors: the WorkerSpec's file, then those the fork server passed."""


@dataclass(slots=True)
class Connection:
    """A worker's ends of its channel, doorbells and pipes; printed lines go over the channel.

    `doorbells` are those of subscribers, by output port; `doorbell` is the worker's own.
    """

    spec: WorkerSpec
    channel: Channel[EngineMessages]
    doorbell: Doorbell
    pipes_out: dict[str, list[int]]
    pipes_in: dict[str, tuple[int, int]]
    arrays_out: dict[str, list[int]]
    arrays_in: dict[str, tuple[int, int, int]]
    printed: LineSender
    clock_page: int | None
    """Descriptor of the page of the host's clock; None without one."""


def adopt(spec: WorkerSpec, descriptors: list[int]) -> Connection:
    """Return the connection that the fork server has passed; redirects printing and logging.

    Args:
        spec: The worker's spec, with positions in `descriptors`.
        descriptors: Control channel, own doorbell, pipe of the output, then those of streams.
    """
    answer_for_place(Path(spec.work_dir), spec.name)
    channel = worker_channel(socket.socket(fileno=descriptors[0]))
    return Connection(
        spec=spec,
        channel=channel,
        doorbell=Doorbell(descriptors[1]),
        pipes_out={
            port: [descriptors[position] for position in positions]
            for port, positions in spec.pipes_out.items()
        },
        pipes_in={
            port: (descriptors[pipe], descriptors[store])
            for port, (pipe, store) in spec.pipes_in.items()
        },
        arrays_out={
            port: [descriptors[position] for position in positions]
            for port, positions in spec.arrays_out.items()
        },
        arrays_in={
            port: (descriptors[memory], descriptors[records], descriptors[returned])
            for port, (memory, records, returned) in spec.arrays_in.items()
        },
        printed=redirect_output(channel, unlimited=spec.virtual_time),
        clock_page=descriptors[spec.clock_page] if spec.clock_page else None,
    )


def adopt_from_environment() -> Connection:
    """Return the connection of a standalone program.

    Raises:
        ControlError: The program was not started by an engine.
    """
    named = os.environ.pop(ENVIRONMENT, "")
    if not named:
        raise ControlError(
            "this program was not started by mlink",
            remedy='Run it as a module of type "python" in a bench: mlink run BENCH.',
        )
    spec_fd, *descriptors = (int(fd) for fd in named.split(","))
    with open(spec_fd, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        spec = msgspec.msgpack.decode(file.read(), type=WorkerSpec)
    for fd in descriptors:
        os.set_inheritable(fd, False)
    return adopt(spec, descriptors)


def program_environment(backend: str) -> dict[str, str]:
    """Return the environment of a standalone program.

    Args:
        backend: What its `init_link()` connects to, as "package.module:function".
    """
    environment = dict(os.environ)
    runtime = str(Path(mlink.__file__).resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (runtime, environment.get("PYTHONPATH", "")) if part
    )
    environment["PYTHONUNBUFFERED"] = "1"
    environment[BACKEND] = backend
    return environment


def become_program(spec: WorkerSpec, descriptors: list[int]) -> None:
    """Replace this process by the standalone program; on an error report it and exit with 127."""
    spec_fd = os.memfd_create("worker-spec", 0)
    os.write(spec_fd, msgspec.msgpack.encode(spec))
    os.lseek(spec_fd, 0, os.SEEK_SET)
    for fd in descriptors:
        os.set_inheritable(fd, True)
    environment = program_environment("mlink.worker.standalone:connect")
    environment[ENVIRONMENT] = ",".join(str(fd) for fd in (spec_fd, *descriptors))
    try:
        os.chdir(spec.bench_dir)
        os.execvpe(spec.program[0], list(spec.program), environment)  # noqa: S606
    except OSError as error:
        channel = worker_channel(socket.socket(fileno=descriptors[0]))
        channel.send(
            control.Failed(
                phase="load",
                message=f"{spec.program[0]} cannot be started: {error.strerror}",
                remedy="Correct `interpreter` or `venv` of this module in the bench file.",
            )
        )
        os._exit(127)
