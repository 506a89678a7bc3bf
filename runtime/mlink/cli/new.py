"""`mlink new`: fill in a commented template to start from, or copy an example bench."""

from __future__ import annotations

import enum
import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mlink.catalog import example_benches
from mlink.errors import BenchError
from mlink.proposals import proposal

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")

_LINK_OUT = re.compile(rb"\[([^]]*)\]\(\.\./[^)]*\)")
"""A link of a page to what is not copied with it."""

_OF_THE_CLONE = re.compile(rb"`make demo`, or with |^ *make demo .*\n", re.MULTILINE)
"""Commands that exist in a clone alone."""

_TEMPLATES = Path(__file__).parent / "templates"
"""Their files end in .txt, so that no tool takes them for code of mlink."""

_KINDS = {
    "script": "A script and its bench, without hardware, to start from.",
    "recorder": "A board's lines and a camera's picture, recorded without a script.",
    "film": "A camera alone, recorded.",
    "test": "A bench with pytest for a device of yours; as it is, a simulated lamp that blinks.",
    "module": "A package with a module type of your own, and a bench that uses it.",
    "camera": "A package with a backend for cameras that mlink does not know, and its tests.",
}
_PACKAGES = ("module", "camera")
_BENCHES = {
    "loop": "led-follows-button",
    "script": "script",
    "recorder": "recorder",
    "test": "test",
    "film": "film",
    "boards": "two-boards",
}
"""What `mlink new bench` offers, by the words of --like, and the kind of each."""


class Service(enum.StrEnum):
    """Where tests run: at each push, or at night on this computer."""

    GITHUB = "github"
    GITLAB = "gitlab"
    SYSTEMD = "systemd"


_KIND = f"{', '.join(_KINDS)}, or an example bench; without one, list them."


def _kinds_like(incomplete: str) -> list[str]:
    """Return what completes a kind in a shell."""
    known = ["bench", *_KINDS, *example_benches()]
    return [each for each in known if each.startswith(incomplete)]


def examples() -> None:
    """List the example benches, and what else `mlink new` creates."""
    _list_kinds(example_benches())


def new(
    kind: Annotated[
        str, typer.Argument(help=f"What to create: {_KIND}", autocompletion=_kinds_like)
    ] = "",
    name: Annotated[str, typer.Argument(help="Its name, and that of its new folder.")] = "",
    ci: Annotated[
        Service | None,
        typer.Option(
            help="Add what runs the bench's tests: a workflow at each push, or with systemd a "
            "service on real hardware at night."
        ),
    ] = None,
    like: Annotated[
        str,
        typer.Option(
            metavar="|".join(_BENCHES),
            help="Of `bench`: a closed loop, a script alone, a recorder without a script, tests of "
            "a device, a camera alone, or several boards.",
            show_default="asked on a terminal, else loop",
        ),
    ] = "",
) -> None:
    """Create a script, test, module or camera, or copy an example bench. They run as they are."""
    if not kind:
        examples()
        return
    found = example_benches()
    if like and kind != "bench":
        raise BenchError("--like belongs to bench", remedy=f"mlink new bench {name} --like {like}")
    if kind == "bench":
        kind = _bench_like(like, name)
    if kind not in _KINDS and kind not in found:
        known = [*_KINDS, *found]
        raise BenchError(f"cannot create '{kind}'", remedy=proposal(kind, known, "kinds"))
    if not name:
        remedy = f"Give one: mlink new {kind} NAME."
        raise BenchError(f"'' cannot be the name of the new folder of '{kind}'", remedy=remedy)
    _check_name(name, kind)
    folder = Path(name)
    copied = kind not in _KINDS
    files = _copy_of(found[kind], folder) if copied else _from_template(kind, name, folder)
    files = _with_schema(files, folder, own_type=name if kind == "module" else "")
    files = _with_proposals(files, folder / "bench.toml")
    has_tests = any(path.name.startswith("test_") for path in files)
    if ci is not None:
        if not has_tests or kind in _PACKAGES:
            raise BenchError(
                f"--ci runs the tests of a bench, and '{kind}' makes none",
                remedy=f"Use it with test or an example: mlink new test {name} --ci {ci}",
            )
        files |= _workflow(ci, name, folder)
    _write(folder, files)
    for path in files:
        typer.echo(f"created {path}")
    if kind in _PACKAGES:
        typer.echo("install it, once: pip install hatchling &&")
        typer.echo(f"    pip install --no-build-isolation --no-deps -e ./{name}")
    typer.echo(f"run it with: mlink run {name} --for 2")
    if has_tests:
        typer.echo(f"test it with: pytest {name}")


def _bench_like(like: str, name: str) -> str:
    """Return the kind of bench that is wanted; a terminal is asked."""
    if not like and name and sys.stdin.isatty() and sys.stdout.isatty():
        kinds = _KINDS | _titles(example_benches())
        for number, (word, kind) in enumerate(_BENCHES.items(), start=1):
            typer.echo(f"{number}  {word:9} {kinds.get(kind, '')}")
        like = typer.prompt("Which", default="loop")
        like = dict(enumerate(_BENCHES, start=1)).get(int(like) if like.isdigit() else 0, like)
    like = like or "loop"
    if like not in _BENCHES:
        raise BenchError(f"there is no bench '{like}'", remedy=proposal(like, _BENCHES, "benches"))
    return _BENCHES[like]


def _from_template(kind: str, name: str, folder: Path) -> dict[Path, bytes]:
    files = {}
    for path in sorted((_TEMPLATES / kind).rglob("*.txt")):
        place = str(path.relative_to(_TEMPLATES / kind)).removesuffix(".txt")
        files[folder / _filled(place, name)] = _filled(path.read_text(), name).encode()
    return files


def _with_schema(
    files: Mapping[Path, bytes], folder: Path, *, own_type: str = ""
) -> dict[Path, bytes]:
    """Return the files with a schema, by which editors complete and explain keys of the bench.

    Of the type of a new module, which is not installed yet, it says nothing but the name.
    """
    from mlink.catalog import module_types
    from mlink.cli.setting_docs import bench_schema
    from mlink.cli.terminal.output import as_json

    bench = folder / "bench.toml"
    line = b"#:schema bench.schema.json\n"  # the whole line, for Taplo
    types = sorted(set(module_types().values()), key=lambda type_: type_.id)
    schema = bench_schema(types)
    if own_type:
        own = {"type": "object", "properties": {"type": {"enum": [own_type]}}, "required": ["type"]}
        schema["properties"]["modules"]["additionalProperties"]["oneOf"].append(own)
    written = as_json(schema) + b"\n"
    return {**files, bench: line + files[bench], folder / "bench.schema.json": written}


def _with_proposals(files: Mapping[Path, bytes], bench: Path) -> dict[Path, bytes]:
    """Return the files with the devices that are plugged in, as comments below [devices]."""
    from mlink.api.devices import list_devices

    head, devices, rest = files[bench].decode().partition("\n[devices]")
    table, blank, rest = rest.partition("\n\n")
    lines = [
        f"# {name} = {json.dumps((found.identity or [found.address])[0])}"
        f"   # plugged in: {' '.join(found.name.split())}, {found.address}"
        for name, key in (("uno", "serial"), ("eye", "camera"))
        for found in list_devices()
        if found.kind == key and found.identity and re.search(rf"^{name} = ", table, re.MULTILINE)
    ]
    if not devices or not lines:
        return dict(files)
    text = "\n".join([f"{head}{devices}{table}", *lines])
    return {**files, bench: f"{text}{blank}{rest}".encode()}


def _filled(text: str, name: str) -> str:
    """Return a template's text with the names of what is created."""
    return text.replace("@name@", name).replace("@module@", _module_name(name))


def _module_name(name: str) -> str:
    return name.lower().replace("-", "_")


def _workflow(service: Service, name: str, folder: Path) -> dict[Path, bytes]:
    """Return the workflow's file: in the git work tree around the new folder, or else beside it.

    The units of systemd are in the folder itself.
    """
    here = Path.cwd()
    top = next((each for each in (here, *here.parents) if (each / ".git").exists()), here)
    if service is Service.SYSTEMD:
        units = {}
        for kind in ("service", "timer"):
            text = _filled((_TEMPLATES / "ci" / f"systemd.{kind}.txt").read_text(), name)
            # no systemd unit has a quoted path as its working directory; % is doubled
            place, python = (
                each.replace("%", "%%") for each in (str(here / folder), sys.executable)
            )
            text = text.replace("@folder@", place).replace("@python@", f'"{python}"')
            units[folder / f"{name}-night.{kind}"] = text.encode()
        return units
    place = f".github/workflows/{name}.yml" if service is Service.GITHUB else ".gitlab-ci.yml"
    path = Path(os.path.relpath(top / place))
    template = (_TEMPLATES / "ci" / f"{service}.yml.txt").read_text()
    inside = os.path.relpath(here / folder, top)
    text = _filled(template, name).replace("@folder@", shlex.quote(inside))
    return {path: text.encode()}


def _list_kinds(examples: Mapping[str, Path]) -> None:
    from mlink.cli.terminal.output import plain_table, table_console

    table = plain_table("mlink new KIND NAME", "")
    for name, what in _KINDS.items():
        table.add_row(name, what)
    for name, title in _titles(examples).items():
        table.add_row(name, title)
    table_console().print(table)


def _titles(examples: Mapping[str, Path]) -> dict[str, str]:
    """Return the first line of each example bench, which says what it is."""
    return {
        name: (folder / "bench.toml").read_text().partition("\n")[0].removeprefix("# ")
        for name, folder in examples.items()
    }


def _copy_of(example: Path, folder: Path) -> dict[Path, bytes]:
    """Return the files of a bench that is an example's copy with another name."""
    files = {}
    for path in sorted(example.rglob("*")):
        place = path.relative_to(example)
        if path.is_file() and "__pycache__" not in place.parts and path.name[0] != ".":
            data = path.read_bytes().replace(b".venv/bin/", b"")
            data = _OF_THE_CLONE.sub(b"", data)
            data = _LINK_OUT.sub(rb"\1", data)
            data = data.replace(f"hil/benches/{example.name}".encode(), str(folder).encode())
            if str(place) == "bench.toml":
                data = data.replace(f'"{example.name}"'.encode(), f'"{folder}"'.encode(), 1)
            files[folder / place] = data
    return files


def _check_name(name: str, kind: str) -> None:
    if not _NAME.fullmatch(name):
        raise BenchError(
            f"{name!r} cannot be the name of a {kind if kind in _KINDS else 'bench'}",
            remedy="Use letters, digits, '-' and '_', beginning with a letter; at most 50.",
        )
    if kind == "camera" and not name.islower():
        raise BenchError(
            f"{name!r} cannot be the name of a camera: it is the scheme of addresses",
            remedy="Use small letters.",
        )
    module = _module_name(name) if kind in _PACKAGES else name
    taken = module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None
    if taken and not Path(name).exists():
        raise BenchError(
            f"'{module}.py' would hide Python's module '{module}'",
            remedy=f"Choose another name, such as my-{name}.",
        )


def _write(folder: Path, files: Mapping[Path, bytes]) -> None:
    existing = [path for path in (folder, *files) if path.exists() or path.is_symlink()]
    if existing and (not folder.is_dir() or len(existing) > 1):
        raise BenchError(
            f"{existing[-1]} exists already", remedy="Choose another name; nothing was changed."
        )
    try:
        folder.mkdir(exist_ok=True)
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
    except OSError as error:
        raise BenchError(
            f"{folder} cannot be written: {error.strerror}",
            remedy="Choose a folder that you may write to.",
        ) from error
