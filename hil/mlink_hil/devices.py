"""Provides the devices of the scheme `virtual`: boards as programs of their own, and scenes."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote

from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink_hil.scene_faults import orders_path
from mlink_hil.sim.fetch_firmware import cached_path, is_cached
from mlink_hil.uno_process import UnoProcess

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


class VirtualDevices:
    """`virtual:uno` and `virtual:scene`; options follow as a query.

    `?firmware=mlink|standard` (mlink's own; StandardFirmata), `?simulator=yasimavr|protocol` (the
    latter runs no firmware, but speaks StandardFirmata's protocol), `?clock_ppm=200` (how much too
    fast the board's crystal is), joined by `&`.
    """

    known = ("virtual:uno", "virtual:scene")

    def open(
        self, *, name: str, spec: str, work_dir: Path, log: logging.Logger
    ) -> AbstractContextManager[DeviceEndpoint]:
        """Return a context manager that starts the device and, at its end, removes it."""
        device, _, query = spec.partition("?")
        if device == "virtual:scene":
            return _scene(name, spec, work_dir)
        if device == "virtual:uno":
            return _uno(name, spec, dict(parse_qsl(query, keep_blank_values=True)), work_dir, log)
        close = difflib.get_close_matches(device, self.known, n=1)
        raise DeviceError(
            f"device '{name}': there is no virtual device '{device}'",
            remedy=f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(self.known)}.",
        )


@contextmanager
def _scene(name: str, spec: str, work_dir: Path) -> Iterator[DeviceEndpoint]:
    """Provide a scene; one that films a board's LED is told where that board's socket will be."""
    query = dict(parse_qsl(spec.partition("?")[2], keep_blank_values=True))
    address = f"{spec}{'&' if query else '?'}orders={quote(str(orders_path(work_dir, name)))}"
    if board := query.get("board", ""):
        address += f"&control={quote(str(control_path(work_dir, board)))}"
    yield DeviceEndpoint(name=name, spec=spec, address=address)


def control_path(work_dir: Path, name: str) -> Path:
    """Return where the control socket of a virtual board of a run is."""
    return work_dir / f"{name}.sock"


@contextmanager
def _uno(
    name: str, spec: str, options: dict[str, str], work_dir: Path, log: logging.Logger
) -> Iterator[DeviceEndpoint]:
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
    simulator, arguments = _choose(name, simulator, firmware, log)
    arguments += ["--clock-ppm", clock_ppm]
    control = control_path(work_dir, name)
    if len(os.fsencode(control)) > _SOCKET_PATH_LIMIT:
        raise DeviceError(
            f"the path of the board's control socket is too long: {control}",
            remedy="Set XDG_RUNTIME_DIR or TMPDIR to a shorter path.",
        )
    tty = work_dir / f"{name}.tty"
    with UnoProcess(_PROGRAMS[simulator], arguments, tty=tty, control=control, log=log) as board:
        yield DeviceEndpoint(
            name=name,
            spec=spec,
            address=board.ready.tty,
            control=board.ready.control,
            properties={
                "simulator": board.ready.simulator,
                "firmware": board.ready.firmware,
                "scheduling": board.ready.scheduling,
            },
        )


def _is_clock_error(text: str) -> bool:
    try:
        return abs(float(text)) <= _MOST_CLOCK_PPM
    except ValueError:
        return False


def _choose(name: str, simulator: str, firmware: str, log: logging.Logger) -> tuple[str, list[str]]:
    """Return the simulator and the arguments of its program, by default with our firmware.

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
        return simulator, [*_ARGUMENTS[simulator]]
    if firmware == "standard":
        if not is_cached():
            raise DeviceError(
                f"device '{name}': StandardFirmata is not there, or not the right one",
                remedy="python -m mlink_hil.sim.fetch_firmware (it needs npm and the network)",
            )
        return "yasimavr", [*_ARGUMENTS["yasimavr"], "--hex", str(cached_path())]
    from mlink.cli.flash import firmware_path  # it knows where the hex files are

    return "yasimavr", [*_ARGUMENTS["yasimavr"], "--hex", str(firmware_path("uno"))]
