"""Part of `mlink check`: what can be found in the scripts of a bench without running them."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlink.errors import Problem
from mlink.proposals import proposal

if TYPE_CHECKING:
    from mlink.bench import Bench

_MOST_BYTES: Final = 1 << 24
_CALLED: Final = {"prepare", "start", "run", "stop"}
"""Functions of a script that the run calls."""
_FILES: Final = {"pyscript": "script", "python": "main"}
"""The setting that names the file, by the type of module."""
_HANDLES: Final = {"HwOutputLine": True, "HwInputLine": False}


class Script(NamedTuple):
    """A script of a bench, and the ids of its ports."""

    module: str
    type: str
    path: Path
    inputs: list[str]
    outputs: list[str]


class Handle(NamedTuple):
    """A handle of a line that a script makes, where port and line can be read from its text."""

    place: str
    """The script's file and line."""
    port: str
    line: int
    output: bool
    analog: bool


class Found(NamedTuple):
    """What the text of a script shows."""

    problems: list[Problem]
    warnings: list[str]
    handles: list[Handle]


def scripts_of(bench: Bench) -> list[Script]:
    """Return the scripts of a checked bench."""
    return [
        Script(
            module.name,
            module.type.id,
            bench.dir / getattr(module.settings, _FILES[module.type.id]),
            [port.id for port in module.inputs],
            [port.id for port in module.outputs],
        )
        for module in bench.modules.values()
        if module.type.id in _FILES
    ]


def scripts_in(table: Mapping[str, Any], folder: Path) -> list[Script]:
    """Return the scripts of a bench that is wrong, as far as its file names them."""
    modules = table.get("modules")
    scripts = []
    for name, each in modules.items() if isinstance(modules, dict) else ():
        kind = each.get("type") if isinstance(each, dict) else None
        file = each.get(_FILES[kind]) if isinstance(kind, str) and kind in _FILES else None
        if isinstance(file, str) and (folder / file).is_file():
            ids = (_ids(each.get(key)) for key in ("ports_in", "ports_out"))
            scripts.append(Script(name, str(kind), folder / file, *ids))
    return scripts


def _ids(ports: object) -> list[str]:
    described = ports if isinstance(ports, list) else []
    return [str(port.get("id")) for port in described if isinstance(port, dict)]


def look_into(script: Script) -> Found:
    """Parse a script.

    A port that it uses and the bench lacks is a warning: the script gets None for it, and may be
    made for that. What is no valid Python is a problem, with file and line.
    """
    place, path = f"[modules.{script.module}]", script.path
    problems: list[Problem] = []
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape: the run shows it
            tree = ast.parse(file.read(_MOST_BYTES), str(path))
            compile(tree, str(path), "exec", dont_inherit=True)  # such as a `return` outside
        for function in _coroutines(tree) if script.type == "pyscript" else ():
            what = f"{path}, line {function.lineno}: {function.name}() is `async def`"
            problems.append(Problem(place, what, "Write `def`, without `await`."))
        return Found(problems, list(_unknown_ports(tree, script)), list(_handles(tree, script)))
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else str(path)
        problems.append(Problem(place, f"{where}: {error.msg}", ""))
    except (OSError, ValueError, MemoryError, RecursionError) as error:
        problems.append(Problem(place, f"{path}: {error}", ""))
    return Found(problems, [], [])


def _coroutines(tree: ast.AST) -> Iterator[ast.AsyncFunctionDef]:
    """Yield the functions that the run calls, and cannot, since they are coroutines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.AsyncFunctionDef) and node.name in _CALLED:
            yield node


def _unknown_ports(tree: ast.AST, script: Script) -> Iterator[str]:
    declared = {
        "get_input_port": ("input ports", script.inputs),
        "get_output_port": ("output ports", script.outputs),
    }
    for node in ast.walk(tree):
        getter = _called(node)
        if getter not in declared or not isinstance(node, ast.Call) or not node.args:
            continue
        what, ids = declared[getter]
        first = node.args[0]
        name = first.value if isinstance(first, ast.Constant) else None
        if isinstance(name, str) and name not in ids:
            yield (
                f"{script.module}: {script.path.name}, line {node.lineno}: the bench declares no "
                f"port '{name}'. {proposal(name, ids, what)}"
            )


def _called(node: ast.AST) -> str:
    """Return the name of the function that a node calls; "" if it calls none."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", "") or getattr(function, "id", "")


def _handles(tree: ast.Module, script: Script) -> Iterator[Handle]:
    """Yield the handles whose port and line are constants, or names that are set once."""
    known = _set_once(tree)
    for node in ast.walk(tree):
        kind = _called(node)
        if kind not in _HANDLES or not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        port, line = (
            known.get(each.id) if isinstance(each, ast.Name) else each for each in node.args[:2]
        )
        output = _HANDLES[kind]
        third = node.args[2:3] or [key.value for key in node.keywords if key.arg == "analog"]
        analog = output and bool(third) and getattr(third[0], "value", None) is True
        if _called(port) == "get_output_port" and port.args and isinstance(line, ast.Constant):  # type: ignore[union-attr,arg-type]
            place = f"{script.module}: {script.path.name}, line {node.lineno}"
            name = getattr(port.args[0], "value", None)  # type: ignore[union-attr]
            if isinstance(name, str) and type(line.value) is int:
                yield Handle(place, name, line.value, output, analog)


def _set_once(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the values of names that the script's top level sets, and nothing sets again."""
    stored = Counter(
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    )
    found: dict[str, ast.expr] = {}
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    for node in assigned:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            found |= {name.id: value for name, value in pairs if isinstance(name, ast.Name)}
    return {name: value for name, value in found.items() if stored[name] == 1}
