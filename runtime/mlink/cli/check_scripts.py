"""Part of `mlink check`: what can be found in the scripts of a bench without running them."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlink.bench.file import Problems
from mlink.proposals import proposal

if TYPE_CHECKING:
    from mlink.bench import Bench, ModuleConfig

_MOST_BYTES: Final = 1 << 24
_CALLED: Final = {"prepare", "start", "run", "stop"}
"""Functions of a script that the run calls."""


def script_lines(bench: Bench) -> list[tuple[str, bool]]:
    """Parse the scripts; return a warning for each port that one uses and the bench lacks.

    A script gets None for such a port, and may be made for that; so it is not an error.

    Raises:
        BenchError: Scripts are not valid Python; its problems name file and line of each.
    """
    lines: list[tuple[str, bool]] = []
    problems = Problems(bench.path)
    for module in bench.modules.values():
        path = _script(bench, module)
        if path is None:
            continue
        try:
            with path.open("rb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as an invalid escape: the run shows it
                tree = compile(
                    file.read(_MOST_BYTES), str(path), "exec", ast.PyCF_ONLY_AST, dont_inherit=True
                )
            lines += [(line, True) for line in _unknown_ports(tree, module, path)]
            for function in _coroutines(tree) if module.type.id == "pyscript" else ():
                what = f"{path}, line {function.lineno}: {function.name}() is `async def`"
                problems.add(f"[modules.{module.name}]", what, "Write `def`, without `await`.")
        except SyntaxError as error:
            where = f"{path}, line {error.lineno}" if error.lineno else str(path)
            problems.add(f"[modules.{module.name}]", f"{where}: {error.msg}")
        except (OSError, ValueError, MemoryError, RecursionError) as error:
            problems.add(f"[modules.{module.name}]", f"{path}: {error}")
    problems.raise_if_any()
    return lines


def _script(bench: Bench, module: ModuleConfig) -> Path | None:
    name = getattr(module.settings, "script", None) or getattr(module.settings, "main", None)
    ours = module.type.id in {"pyscript", "python"}
    return bench.dir / name if ours and isinstance(name, str) else None


def _coroutines(tree: ast.AST) -> Iterator[ast.AsyncFunctionDef]:
    """Yield the functions that the run calls, and cannot, since they are coroutines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.AsyncFunctionDef) and node.name in _CALLED:
            yield node


def _unknown_ports(tree: ast.AST, module: ModuleConfig, path: Path) -> Iterator[str]:
    declared = {
        "get_input_port": ("input ports", [port.id for port in module.inputs]),
        "get_output_port": ("output ports", [port.id for port in module.outputs]),
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        getter = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        first = node.args[0]
        if getter not in declared or not isinstance(first, ast.Constant):
            continue
        what, ids = declared[getter]
        if isinstance(first.value, str) and first.value not in ids:
            yield (
                f"{module.name}: {path.name}, line {node.lineno}: the bench declares no port "
                f"'{first.value}'. {proposal(first.value, ids, what)}"
            )
