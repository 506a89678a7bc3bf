"""Provides the devices of the scheme `virtual`: boards as programs of their own, and scenes."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from mlink.devices import DeviceEndpoint, TablePart, TableProblem
from mlink.errors import DeviceError
from mlink_drivers.firmware.images import firmware_path
from mlink_hil.control.messages import Ready
from mlink_hil.control.process import UnoProcess
from mlink_hil.scene.faults import orders_path
from mlink_hil.sim.fetch_firmware import cached_path, is_cached
from mlink_hil.sim.plan import LedPlan, ScenePlan, write_plan
from mlink_hil.wiring.layout import control_path

__all__ = ["VirtualDevices", "control_path"]

_SOCKET_PATH_LIMIT = 107
"""Longest path of a Unix socket, in bytes (sockaddr_un)."""

_FIRMWARES = ("mlink", "standard")
_MOST_CLOCK_PPM = 10_000
_PROGRAMS = {"yasimavr": "mlink_hil.sim.avr_uno", "protocol": "mlink_hil.sim.protocol_uno"}
_ARGUMENTS: dict[str, list[str]] = {
    "yasimavr": [],
    # it acts on bytes and requests only: eight of them with slices of 100 µs would fill two cores
    "protocol": ["--slice-usec", "5000"],
}


class BoardChoice(NamedTuple):
    """What simulates a board; the simulator `protocol` runs no firmware."""

    simulator: str
    firmware: Path | None
    clock_ppm: float


class VirtualDevices:
    """`virtual:uno` and `virtual:scene`; options follow as a query.

    `?firmware=mlink|standard` (mlink's own; StandardFirmata), `?simulator=yasimavr|protocol` (the
    latter runs no firmware, but speaks StandardFirmata's protocol), `?clock_ppm=200` (how much too
    fast the board's crystal is), joined by `&`. Implements DeviceProvider, and TableProvider and
    TableDescriber for `[virtual]`.
    """

    known = ("virtual:uno", "virtual:scene")

    def open(
        self, *, name: str, spec: str, work_dir: Path, log: logging.Logger
    ) -> AbstractContextManager[DeviceEndpoint]:
        """Return a context manager that starts the device and, at its end, removes it."""
        device = spec.partition("?")[0]
        if device == "virtual:scene":
            return nullcontext(scene_endpoint(name, spec, None, work_dir))
        if is_board(spec):
            return _uno(name, spec, work_dir, log)
        close = difflib.get_close_matches(device, self.known, n=1)
        raise DeviceError(
            f"device '{name}': there is no virtual device '{device}'",
            remedy=f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(self.known)}.",
        )

    def check_table(
        self, table: Mapping[str, Any], *, devices: Mapping[str, str], bench_dir: Path
    ) -> list[TableProblem]:
        """Return what is wrong in a `[virtual]` table."""
        from mlink_hil.wiring.table import check_table

        return [TableProblem(*each) for each in check_table(table, devices, bench_dir)]

    def describe_table(
        self, table: Mapping[str, Any], *, specs: Mapping[str, str]
    ) -> list[TablePart]:
        """Return the parts of a `[virtual]` table, and what each is wired to."""
        from mlink_hil.wiring.layout import left_out
        from mlink_hil.wiring.table import read_parts

        parts = read_parts(table)
        boards = [name for name, spec in specs.items() if is_board(spec)]
        absent = left_out(parts, boards, [name for name in specs if name not in boards])
        return [
            TablePart(name, part.kind, part.wired(), part.detail(), absent.get(name, ""))
            for name, part in parts.items()
        ]

    def open_together(
        self,
        specs: Mapping[str, str],
        table: Mapping[str, Any],
        *,
        devices: Mapping[str, str],  # noqa: ARG002 - those of other schemes
        bench_dir: Path,
        work_dir: Path,
        log: logging.Logger,
    ) -> AbstractContextManager[dict[str, DeviceEndpoint]]:
        """Return a context manager that starts what is wired; the others are opened by `open`."""
        from mlink_hil.wiring.together import open_wired

        return open_wired(specs, table, bench_dir=bench_dir, work_dir=work_dir, log=log)


def is_board(spec: str) -> bool:
    """Tell whether a device string means a virtual board."""
    return spec.partition("?")[0] == "virtual:uno"


def scene_endpoint(name: str, spec: str, plan: ScenePlan | None, work_dir: Path) -> DeviceEndpoint:
    """Return a scene's endpoint; what stands in it is in a file that its address names.

    `virtual:scene?board=uno&led=8` is short for a scene with one LED.
    """
    query = dict(parse_qsl(spec.partition("?")[2], keep_blank_values=True))
    board, led = query.pop("board", ""), query.pop("led", "13")
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
            at=(0.75, 0.75),
            size=1 / 24,
        )
        plan = ScenePlan(items=[light])
    query["orders"] = str(orders_path(work_dir, name))
    if plan is not None:
        path = work_dir / f"{name}.scene.json"
        write_plan(path, plan)
        query["plan"] = str(path)
    return DeviceEndpoint(name=name, spec=spec, address=f"virtual:scene?{urlencode(query)}")


def check_socket_path(control: Path) -> None:
    """Raise DeviceError where the path of a control socket is too long for one."""
    if len(os.fsencode(control)) > _SOCKET_PATH_LIMIT:
        raise DeviceError(
            f"the path of the board's control socket is too long: {control}",
            remedy="Set XDG_RUNTIME_DIR or TMPDIR to a shorter path.",
        )


def choose_board(name: str, spec: str, log: logging.Logger) -> BoardChoice:
    """Return what simulates a board, by its options and what is installed."""
    options = dict(parse_qsl(spec.partition("?")[2], keep_blank_values=True))
    simulator = options.pop("simulator", "")
    firmware = options.pop("firmware", "")
    clock_ppm = options.pop("clock_ppm", "0")
    if (
        options
        or simulator not in ("", *_PROGRAMS)
        or firmware not in ("", *_FIRMWARES)
        or not _is_clock_error(clock_ppm)
    ):
        raise DeviceError(
            f"device '{name}': options of '{spec}' are not understood",
            remedy="Known: virtual:uno?firmware=mlink, virtual:uno?firmware=standard, "
            f"virtual:uno?simulator=protocol and clock_ppm=… (−{_MOST_CLOCK_PPM} to "
            f"{_MOST_CLOCK_PPM}).",
        )
    return BoardChoice(*_choose(name, simulator, firmware, log), float(clock_ppm))


def board_endpoint(name: str, spec: str, ready: Ready) -> DeviceEndpoint:
    """Return the endpoint of a board that runs."""
    return DeviceEndpoint(
        name=name,
        spec=spec,
        address=ready.tty,
        control=ready.control,
        properties={
            "simulator": ready.simulator,
            "firmware": ready.firmware,
            "scheduling": ready.scheduling,
        },
    )


@contextmanager
def _uno(name: str, spec: str, work_dir: Path, log: logging.Logger) -> Iterator[DeviceEndpoint]:
    choice = choose_board(name, spec, log)
    control = control_path(work_dir, name)
    check_socket_path(control)
    tty = work_dir / f"{name}.tty"
    program, arguments = _PROGRAMS[choice.simulator], list(_ARGUMENTS[choice.simulator])
    arguments += ["--clock-ppm", str(choice.clock_ppm)]
    if choice.firmware is not None:
        arguments += ["--hex", str(choice.firmware)]
    with UnoProcess(program, arguments, tty=tty, control=control, log=log) as board:
        yield board_endpoint(name, spec, board.ready)


def _is_clock_error(text: str) -> bool:
    try:
        return abs(float(text)) <= _MOST_CLOCK_PPM
    except ValueError:
        return False


def _choose(
    name: str, simulator: str, firmware: str, log: logging.Logger
) -> tuple[str, Path | None]:
    """Return the simulator and its firmware, by default ours.

    Without the AVR simulator the protocol is spoken without a firmware, and the log says why.
    """
    if simulator == "protocol" and firmware:
        raise DeviceError(
            f"device '{name}': simulator=protocol runs no firmware, and so not '{firmware}'",
            remedy="Leave one of the two options out.",
        )
    if not simulator and importlib.util.find_spec("yasimavr") is None:
        if firmware:
            raise DeviceError(
                f"device '{name}': firmware={firmware} needs the AVR simulator",
                remedy="pip install 'mlink-hil[sim]'",
            )
        log.warning(
            "virtual:uno speaks the protocol only, without a firmware: yasimavr is not installed"
            " (pip install 'mlink-hil[sim]', or make setup)"
        )
        simulator = "protocol"
    if simulator == "protocol":
        return simulator, None
    if firmware == "standard":
        if not is_cached():
            raise DeviceError(
                f"device '{name}': StandardFirmata is not there, or not the right one",
                remedy="python -m mlink_hil.sim.fetch_firmware (it needs npm and the network)",
            )
        return "yasimavr", cached_path()
    return "yasimavr", firmware_path("uno")
