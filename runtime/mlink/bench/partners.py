"""Modules that work with another one by a setting of theirs, such as a camera with its trigger.

The partner takes the wish into its settings, which may give it further ports, and the streams
between the two are connected without a line in `inputs`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from mlink.bench.file import Places, Problems, shown
from mlink.bench.module import Connection, ModuleConfig
from mlink.module import Request
from mlink.proposals import proposal


def join_partners(
    modules: Mapping[str, ModuleConfig],
    names: Collection[str],
    places: Places,
    problems: Problems,
) -> tuple[dict[str, ModuleConfig], dict[str, list[Connection]]]:
    """Let each module's partners take its wishes.

    Args:
        modules: The modules that are valid by themselves.
        names: All modules of the file.
        places: Names the keys of the file in messages.
        problems: Receives what is wrong.

    Returns:
        The modules with their ports after that, and the connections that result, by subscriber.
    """
    granted: list[tuple[str, Request]] = []
    for name, module in modules.items():
        asks = module.type.requests
        for request in asks(module.settings, name) if asks is not None else ():
            before = len(problems)
            _grant(name, request, modules, names, places, problems)
            if len(problems) == before and request.partner in modules:
                granted.append((name, request))
    joined = dict(modules)
    for partner in {request.partner for _, request in granted}:
        inputs, outputs = modules[partner].type.ports_for(modules[partner].settings)
        joined[partner] = replace(modules[partner], inputs=inputs, outputs=outputs)
    connections: dict[str, list[Connection]] = {}
    for name, request in granted:
        connections.setdefault(name, []).extend(
            Connection(port, request.partner, source, order="first")
            for port, source in request.inputs
        )
        connections.setdefault(request.partner, []).extend(
            Connection(port, name, source, order="never") for source, port in request.outputs
        )
    return joined, connections


def _grant(
    name: str,
    request: Request,
    modules: Mapping[str, ModuleConfig],
    names: Collection[str],
    places: Places,
    problems: Problems,
) -> None:
    where = places("modules", name, *request.key.split("."))
    partner = modules.get(request.partner)
    able = [n for n, module in modules.items() if module.type.grant is not None and n != name]
    if partner is None:
        if request.partner not in names:
            what = f"there is no module {shown(request.partner)}"
            problems.add(where, what, proposal(request.partner, able, "modules that can do this"))
        return
    grant = partner.type.grant
    if grant is None:
        what = f"{shown(request.partner)} ({partner.type.id}) cannot do this"
        problems.add(where, what, proposal("", able, "modules that can do this"))
        return
    for what in grant(partner.settings, name, request.wish):
        problems.add(where, what, "Correct it in the bench file.")
