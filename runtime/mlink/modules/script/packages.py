"""Python modules of Syntalos' users: folders with a `module.toml`, each a module type of its name.

They are looked for where Syntalos has them, and in mlink's own folder for modules. A program of 3.x
calls `init_link()` and runs as a `python` module does; a script of 2.x runs as a `pyscript` does.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlink.errors import BenchError
from mlink.module import Category, ModuleType
from mlink.modules.script.program_settings import (
    NEEDED,
    ProgramSettings,
    program_command,
    program_ports,
)
from mlink.modules.script.settings import ScriptPort, ScriptSettings, check_ports, script_ports
from mlink.storage.manifest import parse_toml

_FILE = "module.toml"
_MOST_BYTES = 1 << 20
_NAME = re.compile(r"\w[\w.-]{0,63}")
_INSTALL_S = 1800
_WRONG = (OSError, ValueError, SyntaxError, RecursionError, MemoryError, msgspec.ValidationError)
"""What reading a file of a stranger raises: TOML, UTF-8, Python, values of other types."""
_CALLS = {"register_input_port": "in", "register_output_port": "out"}


class _About(msgspec.Struct):
    type: Literal["python", "executable", "library"] = "python"
    name: str = ""
    description: str = ""
    main: str = ""
    use_venv: bool = False


class _Port(msgspec.Struct):
    id: str
    data_type: str
    title: str = ""


class _File(msgspec.Struct):
    syntalos_module: _About
    ports: dict[Literal["in", "out"], list[_Port]] = {}


def data_home() -> Path:
    """Return the folder for data of this user's programs."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()


def folders() -> list[Path]:
    """Return the folders that have modules, those that count first at the beginning."""
    return [
        data_home() / "mlink" / "modules",
        data_home() / "Syntalos" / "modules",
        Path("~/.var/app/org.syntalos.syntalos/data/modules").expanduser(),
    ]


def installed() -> tuple[list[ModuleType], dict[str, str]]:
    """Return the module types in those folders, and why others cannot be used, by name."""
    types: dict[str, ModuleType] = {}
    broken: dict[str, str] = {}
    for folder in _found():
        if folder.name in types or folder.name in broken:
            continue
        try:
            types[folder.name] = _module_type(folder)
        except _WRONG as error:
            broken[folder.name] = _plain(f"{folder / _FILE}: {error}")
    return list(types.values()), broken


def _found() -> Iterator[Path]:
    for parent in folders():
        try:
            names = sorted(each.name for each in os.scandir(parent))
        except OSError:
            continue
        yield from (
            parent / name
            for name in names
            if _NAME.fullmatch(name) and (parent / name / _FILE).is_file()
        )


def _module_type(folder: Path) -> ModuleType:
    file = _read(folder)
    about = file.syntalos_module
    if about.type != "python":
        raise ValueError(f"it is of type '{about.type}', which only Syntalos can load")
    main = folder / about.main
    if not about.main or not main.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"main = {about.main!r} is no file in its folder")
    tree = ast.parse(_text(main), str(main))
    ports = {way: [ScriptPort(each.id, each.data_type, each.title) for each in given]
             for way, given in file.ports.items()}  # fmt: skip
    calls = {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    is_program = "init_link" in calls
    if is_program:
        for way, port in _registered(tree):
            if port.id not in {each.id for each in ports.setdefault(way, [])}:
                ports[way].append(port)
    if wrong := check_ports(ports.get("in", []), ports.get("out", [])):
        raise ValueError("; ".join(wrong))
    if about.use_venv and not is_program:
        raise ValueError(
            "it is a script of Syntalos 2.x with a virtual environment, and mlink runs such "
            "scripts in its own Python: install its requirements there, and set use_venv = false"
        )
    base: type[msgspec.Struct] = ProgramSettings if is_program else ScriptSettings
    defaults: list[tuple[str, Any, Any]] = [
        ("main" if is_program else "script", str, str(main)),
        ("settings_file", str, "{module}.settings"),
        ("ports_in", list[ScriptPort], _always(ports.get("in", []))),
        ("ports_out", list[ScriptPort], _always(ports.get("out", []))),
    ]
    if about.use_venv:
        defaults.append(("venv", str, str(environment(folder.name))))
    struct = msgspec.defstruct(
        base.__name__,  # workers load settings by this name; those of the base class are the same
        defaults,
        bases=(base,),
        kw_only=True,
        module=base.__module__,
        namespace={
            "installed_as": folder.name,
            "folder": str(folder),
            "unmade": "" if is_current(folder) else str(environment(folder.name)),
        },
    )
    return ModuleType(
        id=folder.name,
        title=_plain(about.name) or folder.name,
        summary=_plain(about.description) or f"A Python module of Syntalos, in {folder}.",
        category=Category.SCRIPT,
        settings=struct,  # type: ignore[arg-type]  # of ProgramSettings or ScriptSettings
        implementation="mlink.worker.standalone:StandaloneModule"
        if is_program
        else "mlink.modules.script.pyscript:ScriptModule",
        ports=program_ports if is_program else script_ports,
        program=program_command if is_program else None,
        virtual_time=True,
    )


def _always(ports: list[ScriptPort]) -> Any:
    return msgspec.field(default_factory=partial(list, ports))


def _read(folder: Path) -> _File:
    return msgspec.convert(parse_toml(_text(folder / _FILE)), _File)


def _plain(text: str) -> str:
    """Return a stranger's text on one line, without what controls the terminal."""
    return "".join(each if each.isprintable() else " " for each in text)[:500].strip()


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would wait for ever
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{path.name} is larger than 1 MB")
    return content.decode("utf-8")


def _called(call: ast.Call) -> str:
    function = call.func
    return str(getattr(function, "attr", "") or getattr(function, "id", ""))


def _registered(tree: ast.Module) -> Iterator[tuple[Literal["in", "out"], ScriptPort]]:
    """Yield the ports that a program registers by literal arguments; a bench declares others."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or (name := _called(node)) not in _CALLS:
            continue
        given = dict(zip(("id", "title", "data_type"), node.args, strict=False))
        given |= {each.arg: each.value for each in node.keywords if each.arg}
        id_, title, kind = (given.get(key) for key in ("id", "title", "data_type"))
        port = ScriptPort(
            _literal(id_), getattr(kind, "attr", "") or _literal(kind), _literal(title)
        )
        if port.id and port.data_type:
            yield ("in" if name == "register_input_port" else "out"), port


def _literal(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# virtual environments ---------------------------------------------------------------------------


def environment(name: str) -> Path:
    """Return the folder of the virtual environment of a module type."""
    return data_home() / "mlink" / "environments" / name


def make_environment(name: str) -> Path | None:
    """Make the virtual environment of a module type anew, with its requirements and ours.

    Returns:
        Its folder; None if the type needs none, or has it as its requirements are now.

    Raises:
        BenchError: There is no such module, or pip fails.
    """
    folder = next((each for each in _found() if each.name == name), None)
    if folder is None:
        places = ", ".join(map(str, folders()))
        raise BenchError(f"there is no folder '{name}' of a module", remedy=f"Looked in: {places}.")
    if not _read(folder).syntalos_module.use_venv or is_current(folder):
        return None
    target, requirements = environment(name), folder / "requirements.txt"
    wanted = ["-r", str(requirements)] if requirements.is_file() else []
    try:
        venv.create(target, clear=True, with_pip=True)
        done = subprocess.run(
            [target / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted, *NEEDED],
            capture_output=True, text=True, timeout=_INSTALL_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BenchError(f"pip did not end within {_INSTALL_S} s", remedy="Try again.") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(
            f"{target} cannot be made: {error}",
            remedy="Python needs its module venv (Debian: apt-get install python3-venv), and room.",
        ) from error
    if done.returncode:
        raise BenchError(
            f"pip cannot install what '{name}' needs: {done.stderr.strip()[-600:]}",
            remedy=f"Correct {requirements}, or see whether the network is there.",
        )
    (target / "requirements.hash").write_text(_hash(folder))
    return target


def is_current(folder: Path) -> bool:
    """Return whether the environment of a module's folder is as its requirements are now."""
    try:
        return (environment(folder.name) / "requirements.hash").read_text() == _hash(folder)
    except OSError:
        return False


def _hash(folder: Path) -> str:
    path = folder / "requirements.txt"
    content = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(content + sys.version.encode()).hexdigest()
