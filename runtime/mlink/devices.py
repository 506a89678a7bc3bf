"""Devices of a bench: what its `[devices]` table names, and who provides the virtual ones.

The runtime knows no device. A provider, found by an entry point of the group `mlink.devices`
whose name is the scheme ("virtual" for "virtual:uno"), turns a device string into an endpoint
that modules open. A string whose scheme has no provider is its own address ("/dev/ttyACM0").
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec


class DeviceEndpoint(msgspec.Struct, frozen=True):
    """A device that a module can open.

    `spec` is what the bench says, `address` what to open (a tty, a pty, a camera node, a URL),
    `control` the Unix socket of a virtual device's control server, or empty.
    """

    name: str
    spec: str
    address: str
    control: str = ""
    properties: dict[str, str | int | float | bool] = {}


class DeviceProvider(Protocol):
    """Opens devices of one scheme for the length of a run (called by the engine)."""

    def open(
        self, *, name: str, spec: str, work_dir: Path, log: logging.Logger
    ) -> AbstractContextManager[DeviceEndpoint]:
        """Return a context manager that starts the device and, at its end, removes it.

        Raises DeviceError when the device cannot be provided.
        """
        ...


class TableProblem(NamedTuple):
    """One thing wrong in a provider's table: where (as "[virtual.light] line"), what, a remedy."""

    where: str
    what: str
    remedy: str = ""


@runtime_checkable
class TableProvider(Protocol):
    """A provider that opens its devices together, by a table of the bench named as its scheme.

    `[virtual]` belongs to the provider of "virtual:…" devices. The runtime hands the table over
    as it is; without one, or without a device of the scheme in the run, `open` does.
    """

    def check_table(
        self, table: Mapping[str, Any], *, devices: Mapping[str, str], bench_dir: Path
    ) -> list[TableProblem]:
        """Return what is wrong in the table. `devices` are all of the bench, with their specs."""
        ...

    def open_together(
        self,
        specs: Mapping[str, str],
        table: Mapping[str, Any],
        *,
        devices: Mapping[str, str],
        bench_dir: Path,
        work_dir: Path,
        log: logging.Logger,
    ) -> AbstractContextManager[dict[str, DeviceEndpoint]]:
        """Return a context manager that starts the devices in `specs` (name → spec), connected.

        Raises DeviceError when one cannot be provided.
        """
        ...


class TablePart(NamedTuple):
    """One thing in a provider's table, in words for people."""

    name: str
    kind: str
    wired: list[str]
    """What it is wired to, one connection each."""
    detail: str = ""
    left_out: str = ""
    """Why it is not there with this run's devices; empty when it is."""


@runtime_checkable
class TableDescriber(Protocol):
    """A TableProvider that can also say what its table holds; `mlink check` shows that."""

    def describe_table(
        self, table: Mapping[str, Any], *, specs: Mapping[str, str]
    ) -> list[TablePart]:
        """Return the parts of a table that has been checked; `specs` as for `open_together`."""
        ...


class FoundDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that exists on this machine, as a provider of `mlink.discovery` found it.

    Entry points of that group name functions `() -> list[FoundDevice]`; `mlink devices` shows
    what they return. `address` and every string of `identity` can stand in a `[devices]` table;
    those of `identity` stay true when the device is plugged in elsewhere or in another order.
    """

    kind: Literal["serial", "camera", "virtual"]
    address: str
    name: str
    identity: list[str] = []
    problem: str = ""
    """Why it cannot be used as it is; empty when it can."""
    remedy: str = ""
