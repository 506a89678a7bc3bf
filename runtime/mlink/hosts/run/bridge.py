"""Streams that cross from one host to another: a module at each end, which no bench file names."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

import msgspec

from mlink.bench.module import Codec, Policy
from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.transport.codec import is_small
from mlink.types import DataType

STREAM: Final = "stream"
"""Port of both modules."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Subscriber(msgspec.Struct, frozen=True):
    """An input that takes the stream on the other host."""

    module: Name
    port: Name
    queue: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None


class Bridge(msgspec.Struct, frozen=True):
    """One stream from one host to one other host."""

    module: Name
    port: Name
    data_type: DataType
    source: Name
    """Host of the module, and where the stream goes: names of hosts, or "controller"."""
    target: Name
    out_name: Name
    """Names of the modules at both ends, different from those of all other modules."""
    in_name: Name
    subscribers: Annotated[tuple[Subscriber, ...], msgspec.Meta(min_length=1, max_length=256)]
    codec: Codec = "raw"
    policy: Policy = ""
    feedback: bool = False
    """Whether its subscribers do not wait for it, at the start nor at the end."""

    @property
    def stream(self) -> str:
        """The stream as benches name it: "module.port"."""
        return f"{self.module}.{self.port}"


class Link(msgspec.Struct, frozen=True):
    """How bridges of one host reach those of others."""

    endpoint: str
    """Endpoint of the session of this host: "tcp/127.0.0.1:7448"."""
    run: str
    """The run's id, hexadecimal digits."""
    wait_s: float = 100.0
    """How long to wait for another host before the start, in s."""
    end_s: float = 10.0
    """How long to wait at the end while nothing moves, in s."""


class BridgeSettings(ModuleSettings, kw_only=True):
    """Settings of both modules, made by `mlink.hosts.run.split`; no bench file can give them."""

    bridge: Bridge
    link: Link

    @property
    def key(self) -> tuple[str, ...]:
        """What names the stream among those of the run."""
        return (self.bridge.in_name, self.bridge.target)


def _ports_in(settings: BridgeSettings) -> Ports:
    return (PortSpec(STREAM, settings.bridge.data_type),), ()


def _ports_out(settings: BridgeSettings) -> Ports:
    return (), (PortSpec(STREAM, settings.bridge.data_type),)


_host_out = ModuleType(
    id="host-out",
    title="To another host",
    summary="Sends a stream to another host of the run.",
    category=Category.PROCESSING,
    settings=BridgeSettings,
    implementation="mlink.hosts.run.host_out:HostOut",
    ports=_ports_in,
)
_host_in = ModuleType(
    id="host-in",
    title="From another host",
    summary="Receives a stream from another host of the run.",
    category=Category.GENERATOR,
    settings=BridgeSettings,
    implementation="mlink.hosts.run.host_in:HostIn",
    ports=_ports_out,
)


def host_out(bridge: Bridge) -> ModuleType:
    """Return the type of module that sends; for small items it has the priority of loops."""
    small = is_small(bridge.data_type)
    return replace(_host_out, category=Category.GENERATOR) if small else _host_out


def host_in() -> ModuleType:
    """Return the type of module that receives."""
    return _host_in
