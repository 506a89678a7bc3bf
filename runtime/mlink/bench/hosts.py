"""The machines of a bench: its table `[hosts]`, and what modules on several of them cannot have."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal

import msgspec

from mlink.bench.file import Places, Problems, Table, convert, shown
from mlink.bench.module import CONTROLLER, ModuleConfig
from mlink.proposals import proposal

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MOST_HOSTS: Final = 100


class Host(msgspec.Struct, frozen=True):
    """A machine of the table `[hosts]`; a text stands for its address alone."""

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """Where its agent listens ("tls/10.0.0.7:7447"), or its name, found by discovery."""
    on_loss: Literal["continue", "stop"] = "continue"
    """What its modules do when the controller cannot be reached."""
    island_s: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 60.0
    """With `continue`: how long they go on without the controller, in s; the controller waits as
    long for the host."""


def read_hosts(table: Table, places: Places, problems: Problems) -> dict[str, Host]:
    """Return the hosts of a bench by name, without those that are wrong.

    Args:
        table: The table `[hosts]`.
        places: Names its keys in messages.
        problems: Receives what is wrong.
    """
    hosts: dict[str, Host] = {}
    by_address: dict[str, str] = {}
    if len(table) > _MOST_HOSTS:
        problems.add(places(), f"{len(table)} hosts are more than {_MOST_HOSTS}")
        return {}
    for name, value in table.items():
        if not _NAME.fullmatch(name) or name == CONTROLLER:
            problems.add(
                places(name),
                f"{shown(name)} cannot be a host's name",
                "Use the name that its agent has: at most 63 small letters, digits and '-'. "
                f"'{CONTROLLER}' is this machine.",
            )
            continue
        given = {"address": value} if isinstance(value, str) else value
        if not isinstance(given, dict):
            what = f"{shown(value)} is not the address of a host"
            problems.add(places(name), what, f'Write {name} = "tls/ADDRESS:7447".')
            continue
        host = convert(given, Host, problems, places.below(name), remedy="Keys: docs/hosts.md.")
        if host is None:
            continue
        first = by_address.setdefault(host.address, name)
        if first != name:
            what = f"'{first}' has this address, too: {shown(host.address)}"
            problems.add(places(name), what, "Give each machine one name.")
            continue
        hosts[name] = host
    return hosts


def check_hosts(
    modules: Mapping[str, ModuleConfig],
    hosts: Collection[str],
    needs_one: Mapping[str, object],
    places: Places,
    problems: Problems,
) -> None:
    """Add what is wrong with the hosts of a bench's modules.

    Args:
        modules: All modules, with their connections.
        hosts: The names in `[hosts]`.
        needs_one: Parts of the bench that work on one machine alone: name in messages → content.
        places: Names the keys of the file in messages.
        problems: Receives what is wrong.
    """
    elsewhere = {name for name, module in modules.items() if module.host}
    for name in sorted(elsewhere):
        host = modules[name].host
        if host not in hosts:
            remedy = (
                proposal(host, hosts, "hosts")
                if hosts
                else f'Add a table [hosts] with {host} = "tls/ADDRESS:7447", or leave host out.'
            )
            what = f"{shown(host)} is not in the table [hosts]"
            problems.add(places("modules", name, "host"), what, remedy)
    for what_for, content in needs_one.items() if elsewhere else ():
        if content:
            problems.add(
                what_for,
                "works on one machine alone, and modules of this bench are on other hosts",
                "Leave it out, or remove `host` from the modules.",
            )
    for name, module in modules.items():
        asks = module.type.requests
        for request in asks(module.settings, name) if asks is not None else ():
            partner = modules.get(request.partner)
            if partner is not None and partner.host != module.host:
                what = f"'{name}' and '{partner.name}' work with each other and are on two hosts"
                remedy = "Give both the same host: such a pair shares the times of one machine."
                problems.add(places("modules", name, request.key), what, remedy)
        for each in module.connections:
            source = modules.get(each.source_module)
            crosses = source is not None and source.host != module.host
            if not crosses and (each.codec != "raw" or each.policy):
                where = places("modules", name, "inputs", each.port)
                what = f"'{each.source_module}' is on the same host: this stream crosses none"
                problems.add(where, what, "Leave codec and policy out.")
