"""Splits a bench into the parts of its hosts; puts a part together with the ends of its streams.

The order of the whole bench decides which streams are feedback (`mlink.engine.plan`); in the parts
these are marked, so that no part waits in a circle that leads through another host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mlink.bench import Bench, Connection, ModuleConfig
from mlink.bench.bench import Compat
from mlink.bench.file import Places, Problems
from mlink.bench.load import load_modules
from mlink.bench.module import CONTROLLER, ModuleLoader
from mlink.engine.plan import Edge, find_edges, order_modules, output_type
from mlink.hosts.run.bridge import (
    STREAM,
    Bridge,
    BridgeSettings,
    Link,
    Subscriber,
    host_in,
    host_out,
)

Text = Annotated[str, msgspec.Meta(max_length=1000)]
_MOST = msgspec.Meta(max_length=256)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one host runs of a bench; it crosses as msgpack, and is checked again there."""

    name: Text
    """The bench's."""
    host: Text
    devices: Annotated[dict[Text, Text], _MOST] = {}
    modules: Annotated[dict[str, dict[str, Any]], _MOST] = {}
    """Its `[modules]` tables, without `host` and without inputs from other hosts."""
    feedback: Annotated[list[tuple[str, str]], msgspec.Meta(max_length=10_000)] = []
    """Inputs of its modules, (module, port), that are feedback in the whole bench."""
    bridges: Annotated[list[Bridge], _MOST] = []
    """Streams of which it has one end."""
    keep_awake: bool = True
    strict: bool = False
    compat: Compat = ""


def split(bench: Bench) -> dict[str, Part]:
    """Return the parts of a bench by host; that of the controller, which may be empty, is one.

    Args:
        bench: A checked bench.
    """
    edges = find_edges(bench, order_modules(bench))
    bridges = _bridges(bench, edges)
    hosts = {_host(module) for module in bench.modules.values()} | {CONTROLLER}
    return {host: _part(bench, host, edges, bridges) for host in sorted(hosts)}


def here(bench: Bench, part: Part, link: Link) -> Bench:
    """Return the controller's part of a bench, to be run.

    Args:
        bench: The whole bench.
        part: Its part of the controller.
        link: How its streams reach other hosts.
    """
    modules = {
        name: replace(
            module,
            connections=tuple(
                each for each in module.connections if not bench.modules[each.source_module].host
            ),
        )
        for name, module in bench.modules.items()
        if not module.host
    }
    return _put_together(replace(bench, modules=modules, hosts={}), part, link)


def there(part: Part, folder: Path, link: Link) -> Bench:
    """Return the bench that a host runs for a controller, checked with what is installed there.

    Args:
        part: Its part, as received.
        folder: The run's private folder, which stands for that of the bench file.
        link: How its streams reach other hosts.

    Raises:
        BenchError: Something is not as modules here need it.
    """
    path = folder / f"{part.host}.toml"
    problems = Problems(Path(f"the part of host {part.host}"))
    places = Places()
    loader = ModuleLoader(folder, part.devices, None, places, problems)
    loader.check_device_table()
    described = {name: dict(table) for name, table in part.modules.items()}
    modules = load_modules(described, loader, places, problems) if described else {}
    problems.raise_if_any()
    bench = Bench(
        part.name,
        path,
        folder,
        dict(part.devices),
        modules,
        keep_awake=part.keep_awake,
        strict=part.strict,
        compat=part.compat,
        described=described,
    )
    return _put_together(bench, part, link)


def _host(module: ModuleConfig) -> str:
    return module.host or CONTROLLER


def _part(bench: Bench, host: str, edges: list[Edge], bridges: list[Bridge]) -> Part:
    own = {name for name, module in bench.modules.items() if _host(module) == host}
    tables = {name: _table(bench, name, own) for name in bench.modules if name in own}
    used = {bench.modules[name].device for name in own}
    return Part(
        name=bench.name,
        host=host,
        devices={key: spec for key, spec in bench.devices.items() if key in used},
        modules={} if host == CONTROLLER else tables,
        feedback=[
            (edge.target, edge.target_port)
            for edge in edges
            if edge.feedback and edge.source in own and edge.target in own
        ],
        bridges=[each for each in bridges if host in (each.source, each.target)],
        keep_awake=bench.keep_awake,
        strict=bench.strict,
        compat=bench.compat,
    )


def _table(bench: Bench, name: str, own: set[str]) -> dict[str, Any]:
    """Return a module's table without its host and without inputs from other hosts."""
    table = {key: value for key, value in bench.described[name].items() if key != "host"}
    crossing = {
        each.port for each in bench.modules[name].connections if each.source_module not in own
    }
    if crossing:
        table["inputs"] = {
            port: value for port, value in table.get("inputs", {}).items() if port not in crossing
        }
    return table


def _bridges(bench: Bench, edges: list[Edge]) -> list[Bridge]:
    """Return the streams that cross, one for each host, codec, policy and kind of waiting."""
    found: dict[tuple[Any, ...], list[Subscriber]] = {}
    connections = {
        (name, each.port): each
        for name, module in bench.modules.items()
        for each in module.connections
    }
    for edge in edges:
        target = _host(bench.modules[edge.target])
        if _host(bench.modules[edge.source]) == target:
            continue
        how = connections[edge.target, edge.target_port]
        policy = how.policy or "all"
        key = (edge.source, edge.source_port, target, how.codec, policy, edge.feedback)
        found.setdefault(key, []).append(Subscriber(edge.target, edge.target_port, edge.queue))
    taken: set[str] = set()
    bridges = []
    for key, subscribers in found.items():
        module, port, target, codec, policy, feedback = key
        source = _host(bench.modules[module])
        data_type = output_type(bench.modules[module], port)
        out_name = _free(f"{module}-{port}>{target}", taken)
        in_name = _free(f"{module}-{port}@{source}", taken)
        bridges.append(
            Bridge(module, port, data_type, source, target, out_name, in_name, tuple(subscribers),
                   codec, policy, feedback)
        )  # fmt: skip
    return bridges


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _put_together(bench: Bench, part: Part, link: Link) -> Bench:
    """Return the bench with the ends of its streams to and from other hosts."""
    modules = {
        name: replace(module, connections=tuple(_marked(module, part)))
        for name, module in bench.modules.items()
    }
    for bridge in part.bridges:
        settings = BridgeSettings(bridge=bridge, link=link)
        if bridge.source == part.host:
            out, subscription = host_out(bridge), Connection(STREAM, bridge.module, bridge.port)
            _check_source(modules, bridge)
            inputs, outputs = out.ports_for(settings)
            modules[bridge.out_name] = ModuleConfig(
                bridge.out_name, out, settings, None, (subscription,), inputs, outputs
            )
        else:
            into = host_in()
            inputs, outputs = into.ports_for(settings)
            modules[bridge.in_name] = ModuleConfig(
                bridge.in_name, into, settings, None, (), inputs, outputs
            )
            _subscribe(modules, bridge)
    return replace(bench, modules=modules)


def _marked(module: ModuleConfig, part: Part) -> list[Connection]:
    feedback: Mapping[tuple[str, str], None] = dict.fromkeys(part.feedback)
    return [
        replace(each, order="feedback")
        if (module.name, each.port) in feedback and not each.order
        else each
        for each in module.connections
    ]


def _check_source(modules: Mapping[str, ModuleConfig], bridge: Bridge) -> None:
    ports = modules[bridge.module].outputs if bridge.module in modules else ()
    kinds = [port.data_type for port in ports if port.id == bridge.port]
    if kinds != [bridge.data_type]:
        problems = Problems(Path("the part of this host"))
        what = f"no module sends {bridge.data_type.name} on '{bridge.stream}'"
        problems.add(bridge.stream, what, "Install the same modules on all hosts.")
        problems.raise_if_any()


def _subscribe(modules: dict[str, ModuleConfig], bridge: Bridge) -> None:
    for each in bridge.subscribers:
        module = modules.get(each.module)
        if module is None or each.port not in {port.id for port in module.inputs}:
            problems = Problems(Path("the part of this host"))
            what = f"there is no input '{each.module}.{each.port}'"
            problems.add(bridge.stream, what, "Install the same modules on all hosts.")
            raise problems.as_error()
        connection = Connection(each.port, bridge.in_name, STREAM, each.queue)
        if bridge.feedback:
            connection = replace(connection, order="feedback")
        modules[each.module] = replace(module, connections=(*module.connections, connection))
