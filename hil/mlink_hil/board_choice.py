"""Reads device strings of the scheme `virtual` and opens what each stands for by itself.

`devices.py` uses it for boards that nothing is wired to, `wiring/together.py` for those of a
`[virtual]` table.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink_drivers.firmware.images import firmware_path
from mlink_hil.board_kinds import UNO, BoardKind, kind_of
from mlink_hil.control.messages import Ready
from mlink_hil.control.process import UnoProcess
from mlink_hil.control.socket_path import check_socket_path, control_path
from mlink_hil.scene.faults import orders_path
from mlink_hil.sim.fetch_firmware import cached_path, is_cached
from mlink_hil.sim.plan import LED_AT, LED_SIZE, LedPlan, ScenePlan, write_plan
from mlink_hil.uno import MOST_CLOCK_PPM, MOST_PHASE_USEC

LIGHT_OPTIONS = {"board": "", "led": "13"}
"""Options of `virtual:scene` that are short for a light in it, and their defaults."""
_PROGRAMS = {"yasimavr": "mlink_hil.sim.avr_uno", "protocol": "mlink_hil.sim.protocol_uno"}
_ARGUMENTS: dict[str, list[str]] = {
    "yasimavr": [],
    # It reacts to bytes and requests only. Eight with slices of 100 µs would fill two cores.
    "protocol": ["--slice-usec", "5000"],
}


class BoardOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a simulated board, as a query; "" chooses by what is installed."""

    simulator: Literal["", "yasimavr", "protocol"] = ""
    firmware: str = ""
    """"mlink", "standard", or the path of a hex or ELF file."""
    clock_ppm: Annotated[float, msgspec.Meta(ge=-MOST_CLOCK_PPM, le=MOST_CLOCK_PPM)] = 0.0
    """Error of the crystal; positive is fast."""
    phase_usec: Annotated[float, msgspec.Meta(ge=0, le=MOST_PHASE_USEC)] = 0.0
    """For how long its firmware has run when the simulation begins."""


class BoardChoice(NamedTuple):
    """How a board is simulated.

    Args:
        kind: The board.
        simulator: "yasimavr" or "protocol".
        firmware: Its hex file; None with "protocol", which runs none.
        clock_ppm: Error of its crystal; positive is fast.
        phase_usec: For how long its firmware has run when the simulation begins.
    """

    kind: BoardKind
    simulator: str
    firmware: Path | None
    clock_ppm: float
    phase_usec: float


def is_board(spec: str) -> bool:
    """Return whether a device string means a simulated board.

    Options after the "?" do not matter; a scene is no board.
    """
    return kind_of(spec) is not None


def choose_board(name: str, spec: str, log: logging.Logger) -> BoardChoice:
    """Choose simulator and firmware by a device string's options and by what is installed.

    Args:
        name: The board's name in the bench file, for messages.
        spec: Device string, such as "virtual:uno?firmware=standard".
        log: Receives a warning when the AVR simulator is not installed.

    Raises:
        DeviceError: An option is unknown, or what it asks for is not installed.
    """
    query = dict(parse_qsl(spec.partition("?")[2], keep_blank_values=True))
    kind = kind_of(spec) or UNO
    try:
        options = msgspec.convert(query, BoardOptions, strict=False)
    except msgspec.ValidationError as error:
        raise DeviceError(
            f"device '{name}': unknown option, or unknown value of one, in '{spec}'",
            remedy="Known: virtual:uno?firmware=mlink, virtual:uno?firmware=standard, "
            "virtual:uno?firmware=path.hex, "
            f"virtual:uno?simulator=protocol, clock_ppm=… (−{MOST_CLOCK_PPM} to {MOST_CLOCK_PPM}) "
            f"and phase_usec=… (0 to {MOST_PHASE_USEC}).",
        ) from error
    chosen = _choose(name, kind, options.simulator, options.firmware, log)
    return BoardChoice(kind, *chosen, options.clock_ppm, options.phase_usec)


def board_endpoint(
    name: str, spec: str, ready: Ready, *, adapter: str = "no adapter"
) -> DeviceEndpoint:
    """Return the endpoint of a running board.

    Args:
        name: The board's name in the bench file.
        spec: Its device string.
        ready: The ready message of its program.
        adapter: What is between its serial line and the host.
    """
    return DeviceEndpoint(
        name=name,
        spec=spec,
        address=ready.tty,
        control=ready.control,
        properties={
            "simulator": ready.simulator,
            "firmware": ready.firmware,
            "adapter": adapter,
            "scheduling": ready.scheduling,
        },
    )


@contextmanager
def open_board(
    name: str, spec: str, work_dir: Path, log: logging.Logger
) -> Iterator[DeviceEndpoint]:
    """Run one simulated board in a program of its own.

    Args:
        name: The board's name in the bench file; its socket and its port are named after it.
        spec: Device string, such as "virtual:uno".
        work_dir: Folder of the run, for the socket and the port.
        log: Receives what the program reports.

    Raises:
        DeviceError: An option is wrong, or the program did not start.
    """
    choice = choose_board(name, spec, log)
    control = control_path(work_dir, name)
    check_socket_path(control)
    tty = work_dir / f"{name}.tty"
    program, arguments = _PROGRAMS[choice.simulator], list(_ARGUMENTS[choice.simulator])
    arguments += ["--clock-ppm", str(choice.clock_ppm), "--phase-usec", str(choice.phase_usec)]
    if choice.firmware is not None:
        arguments += ["--board", choice.kind.name, "--hex", str(choice.firmware)]
    with UnoProcess(program, arguments, tty=tty, control=control, log=log) as board:
        yield board_endpoint(name, spec, board.ready)


def scene_endpoint(name: str, spec: str, plan: ScenePlan | None, work_dir: Path) -> DeviceEndpoint:
    """Return a scene's endpoint, whose address names the files that its camera reads.

    `virtual:scene?board=uno&led=8` is short for a scene with one LED.

    Args:
        name: The scene's name in the bench file.
        spec: Device string.
        plan: Items of the scene from the `[virtual]` table, if there are any.
        work_dir: Folder of the run; the plan is written there.

    Raises:
        DeviceError: The option `led` is not a number.
    """
    query = dict(parse_qsl(spec.partition("?")[2], keep_blank_values=True))
    board, led = (query.pop(key, default) for key, default in LIGHT_OPTIONS.items())
    if board and plan is None:
        if not led.isdecimal():
            raise DeviceError(
                f"the led in {spec} is not a whole number",
                remedy="Write virtual:scene?board=uno&led=8.",
            )
        light = LedPlan(
            name="light",
            control=str(control_path(work_dir, board)),
            pin=int(led),
            at=LED_AT,
            size=LED_SIZE,
        )
        plan = ScenePlan(items=[light])
    query["orders"] = str(orders_path(work_dir, name))
    if plan is not None:
        path = work_dir / f"{name}.scene.json"
        write_plan(path, plan)
        query["plan"] = str(path)
    return DeviceEndpoint(name=name, spec=spec, address=f"virtual:scene?{urlencode(query)}")


def _choose(
    name: str, kind: BoardKind, simulator: str, firmware: str, log: logging.Logger
) -> tuple[str, Path | None]:
    """Return the simulator and its firmware; by default yasimavr with mlink's own.

    Where yasimavr is not installed the default is the simulator of the protocol, with a warning.
    """
    if kind is not UNO and (simulator == "protocol" or firmware == "standard"):
        option = f"simulator={simulator}" if simulator else f"firmware={firmware}"
        raise DeviceError(
            f"device '{name}': {option} is for virtual:uno only, not for virtual:{kind.name}",
            remedy="Remove the option, or give a firmware of your own by firmware=path.hex.",
        )
    if simulator == "protocol" and firmware:
        raise DeviceError(
            f"device '{name}': simulator=protocol runs no firmware, so firmware={firmware} cannot "
            "be used with it",
            remedy="Remove one of the two options.",
        )
    if not simulator and importlib.util.find_spec("yasimavr") is None:
        if firmware or kind is not UNO:
            what = f"firmware={firmware}" if firmware else f"virtual:{kind.name}"
            raise DeviceError(
                f"device '{name}': {what} needs the AVR simulator",
                remedy="pip install 'mlink-hil[sim]'",
            )
        log.warning(
            "virtual:uno simulates the protocol only, without a firmware: yasimavr is not installed"
            " (pip install 'mlink-hil[sim]', or make setup)"
        )
        simulator = "protocol"
    if simulator == "protocol":
        return simulator, None
    if firmware == "standard":
        if not is_cached():
            raise DeviceError(
                f"device '{name}': the StandardFirmata binary is missing, or has another checksum",
                remedy="python -m mlink_hil.sim.fetch_firmware (it needs npm and the network)",
            )
        return "yasimavr", cached_path()
    if firmware in ("", "mlink"):
        return "yasimavr", firmware_path(kind.name)
    path = Path(firmware).expanduser().resolve()
    if not path.is_file():
        raise DeviceError(
            f"device '{name}': there is no firmware '{firmware}'"
            + ("" if firmware == path.name else f" ({path})"),
            remedy="Write firmware=mlink, firmware=standard, or the path of a hex or ELF file.",
        )
    return "yasimavr", path
