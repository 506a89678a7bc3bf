"""The documentation against the code: commands, options, paths, imports and bench files exist.

Most are checked without running them. Run elsewhere: README.md and docs/hil.md
(`tests/integration/hil/test_documented_examples.py`), docs/recordings.md
(`tests/unit/recording/test_open.py`), docs/scripting.md (`tests/unit/testing/test_runner.py`).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import typer

from mlink.bench import load_bench
from mlink.catalog import module_types
from mlink.cli import app
from mlink.cli.setting_docs import settings_of
from mlink.testing import ScriptRunner
from mlink_hil.wiring.table import KINDS
from tests.support import ROOT, reference

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob(".ci/**/*.md"),
        *ROOT.glob("firmware/*.md"),
        *ROOT.glob("hil/benches/*/*.md"),
        *ROOT.glob("tests/rig/machine/*.md"),
    ]
)
DECISIONS = sorted(ROOT.glob("docs/decisions/*.md"))
ELSEWHERE = {"edlio", "mlink_basler", "pypylon"}
"""Packages in examples that are not in .venv."""
IN_EXAMPLES = {"reward/reward.py", "loop/loop.py", "lamp/device.py", "lamp/test_lamp.py"}
PLACEHOLDERS = {"NAME", "TARGET"}
ROOMS = ("runtime", "drivers", "hil", "tests", "firmware", "docs", ".ci", ".github")
FILES = [str(file) for room in ROOMS for file in (ROOT / room).rglob("*.*")]
MAKEFILE = (ROOT / "Makefile").read_text()
FIRMWARE_MAKEFILE = (ROOT / "firmware/Makefile").read_text()


class Block(NamedTuple):
    """A code block of a page: its language ("" if none is given) and its text."""

    page: str
    line: int
    language: str
    text: str


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced and the indented code blocks of a page."""
    text = page.read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield Block(name_of(page), text.count("\n", 0, found.start()) + 1, found[1], found[2])
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.finditer(r"(?:^    .*\n)+", prose, re.MULTILINE):
        yield Block(name_of(page), 0, "", found[0])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def in_language(*languages: str) -> Any:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=named)


@in_language("python")
def test_python_compiles_and_its_imports_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            modules = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in modules:
            if module.partition(".")[0] not in ELSEWHERE:
                imported = importlib.import_module(module)
                assert not name or hasattr(imported, name), f"{module} has no {name}"


@in_language("toml")
def test_toml_is_a_bench_or_a_piece_of_one(block: Block, tmp_path: Path) -> None:
    table = tomllib.loads(block.text)
    if "bench" in table:
        for module in table["modules"].values():
            if script := module.get("script"):
                (tmp_path / script).write_text("import syntalos_mlink as syl\n")
        for part in table.get("virtual", {}).values():
            (tmp_path / part.get("source", "unused").partition(":")[0]).touch()
        (tmp_path / "bench.toml").write_text(block.text)
        assert load_bench(tmp_path / "bench.toml").modules
        return
    types = module_types()
    for module in table.get("modules", {}).values():
        if "type" in module:
            keys = {"type", "device", "inputs", "ports_in", "ports_out"}
            settings = {key: value for key, value in module.items() if key not in keys}
            msgspec.convert(settings, types[module["type"]].settings)
    for part in table.get("virtual", {}).values():
        settings = {key: value for key, value in part.items() if key != "type"}
        msgspec.convert(settings, KINDS[part["type"]])


def commands_in(page: Path) -> Iterator[str]:
    """Yield the lines of shell blocks and the inline code of a page."""
    for block in blocks_of(page):
        if block.language in ("", "sh"):
            for line in block.text.replace("\\\n", "").splitlines():
                yield line.strip()
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose))


def words_of(command: str) -> list[str]:
    """Return a command's words without its comment, or nothing if it is not one."""
    command = re.split(r"\s+#|\s{3,}", command)[0].removeprefix(".venv/bin/")
    command = re.sub(r"\[|\]|…", " ", command)
    try:
        return shlex.split(command)
    except ValueError:
        return []


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS], ids=name_of)
def test_commands_and_their_options_exist(page: Path) -> None:
    problems = []
    for command in commands_in(page):
        words = words_of(command)
        if len(words) < 2 or words[0] not in ("mlink", "make", "pytest", "python"):
            continue
        problems += [f"{command}: {what}" for what in problems_of(words)]
    assert not problems


def problems_of(words: list[str]) -> Iterator[str]:
    """Yield what does not exist of a command."""
    program, *arguments = words
    if program == "mlink":
        yield from mlink_problems(arguments)
    elif program == "make":
        makefile = FIRMWARE_MAKEFILE if arguments[:2] == ["-C", "firmware"] else MAKEFILE
        targets = arguments[2:] if makefile is FIRMWARE_MAKEFILE else arguments
        for target in targets:
            if "=" not in target and not re.search(rf"^{target}\b[^=\n]*:", makefile, re.MULTILINE):
                yield f"no target {target}"
    elif program == "python" and arguments[0] == "-m":
        if importlib.util.find_spec(arguments[1]) is None:
            yield f"no module {arguments[1]}"
    else:
        for argument in arguments:
            path = argument.partition("::")[0]
            if re.match(r"(tests|hil)/", path) and not (ROOT / path).exists():
                yield f"no file {path}"


def mlink_problems(arguments: list[str]) -> Iterator[str]:
    group: Any = typer.main.get_command(app)
    name = next((word for word in arguments if not word.startswith("-")), "")
    if name in PLACEHOLDERS or not name:
        return
    if name not in group.commands:
        yield f"mlink has no command {name}"
        return
    known = {option for each in group.commands[name].params for option in each.opts}
    known |= {option for each in group.params for option in each.opts} | {"-h", "--help"}
    for word in arguments:
        option = word.partition("=")[0]
        if re.match(r"--?[a-z]", option) and option not in known:
            yield f"mlink {name} has no option {option}"


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS], ids=name_of)
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    paths = re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]*\w/?)`", text)
    bases = (ROOT, page.parent)
    missing += [path for path in paths if not any((base / path).exists() for base in bases)]
    # Shortened ones, such as `engine/plan.py`.
    endings = set(re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|cpp|h|sh|hex))`", text)) - IN_EXAMPLES
    missing += [end for end in endings if not any(file.endswith(f"/{end}") for file in FILES)]
    assert not missing


@pytest.mark.parametrize("package", ["runtime/mlink", "drivers/mlink_drivers", "hil/mlink_hil"])
def test_the_picture_of_the_architecture_has_every_room(package: str) -> None:
    picture = next(block.text for block in BLOCKS if block.page == "docs/architecture.md")
    inside = [each for each in (ROOT / package).iterdir() if not each.name.startswith("_")]
    rooms = {
        each.stem for each in inside if each.suffix == ".py" or (each / "__init__.py").exists()
    }
    assert not rooms - set(re.findall(r"\w+", picture))
    folders = [each.parent for each in (ROOT / package).glob("*/*/__init__.py")]
    drawn = set(re.findall(r"(\w+)/", picture))
    assert not {each.name for each in folders} - drawn


def test_the_manual_page_has_every_command() -> None:
    group: Any = typer.main.get_command(app)
    page = (ROOT / "docs/mlink.1").read_text()
    commands = page[page.index(".SH COMMANDS") : page.index(".SH OPTIONS")].replace('"', "")
    assert set(group.commands) <= set(re.findall(r"[a-z-]+", commands))


@pytest.mark.parametrize(
    ("page", "text"), reference.pages().items(), ids=lambda each: getattr(each, "name", "")
)
def test_what_is_written_from_the_code_is_as_the_code_is(page: Path, text: str) -> None:
    assert page.read_text() == text, "run .venv/bin/python -m tests.support.reference"


def test_every_setting_has_a_meaning() -> None:
    kinds = {type_.id: type_.settings for type_ in module_types().values()} | reference.TABLES
    silent = [
        f"{name}: {each.key}"
        for name, kind in kinds.items()
        for each in settings_of(kind)
        if not each.meaning
    ]
    assert not silent, "write a text below these fields"


def test_anchors_of_links_between_pages_exist() -> None:
    missing = []
    for page in ROOT.glob("docs/*.md"):
        for file, anchor in re.findall(r"\]\(([\w-]+\.md)?#([^)]+)\)", page.read_text()):
            text = (page.parent / file if file else page).read_text()
            titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in titles}
            if anchor not in slugs and f'id="{anchor}"' not in text:
                missing.append(f"{page.name}: {file}#{anchor}")
    assert not missing


def test_the_navigation_of_the_site_has_every_page() -> None:
    listed = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in ROOT.glob("docs/*.md"))


def test_pages_of_the_site_link_to_nothing_outside_it() -> None:
    links = [
        block
        for page in ROOT.glob("docs/*.md")
        for block in re.findall(r"\]\(\.\./\S*\)", page.read_text())
    ]
    assert not links, "name files outside docs/ as `path/of/file`"


def test_the_picture_of_the_architecture_has_no_folder_that_is_gone() -> None:
    picture = next(block.text for block in BLOCKS if block.page == "docs/architecture.md")
    there = {each.name for room in ROOMS for each in (ROOT / room).rglob("*") if each.is_dir()}
    drawn = {name for path in re.findall(r"[\w/.]+/", picture) for name in path.split("/") if name}
    assert not drawn - there - set(ROOMS)


def test_make_test_collects_every_real_time_test() -> None:
    script = (ROOT / ".ci/test.sh").read_text()
    (rooms,) = re.findall(r'^real_time="(.+)"', script, re.MULTILINE)
    elsewhere = [
        name_of(file)
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"^(@|pytestmark = .*)pytest\.mark\.real_time", file.read_text(), re.MULTILINE)
        and not any(ROOT / room in file.parents for room in rooms.split())
    ]
    assert not elsewhere, "their folders belong to real_time in .ci/test.sh"


@pytest.mark.parametrize("record", DECISIONS, ids=name_of)
def test_decision_records_have_a_number_a_date_and_a_status(record: Path) -> None:
    number = int(record.name[:4])
    status = r"Date: \d{4}-\d\d-\d\d · Status: (accepted|superseded by \d+)\n"
    assert re.match(rf"# {number}\. .+\n\n{status}", record.read_text())


def test_the_changelog_has_this_version_and_what_comes_next() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", project["version"]]


def python_block(page: str, marker: str) -> str:
    """Return the only Python block of a page that contains the marker."""
    (found,) = [
        block.text
        for block in BLOCKS
        if block.page == page and block.language == "python" and marker in block.text
    ]
    return found


def test_the_worked_example_of_the_api_passes_strict_type_checks(tmp_path: Path) -> None:
    named_files = {
        found[1]: block.text
        for block in BLOCKS
        if block.page == "docs/api.md" and (found := re.match(r"# (\w+\.py)\n", block.text))
    }
    assert set(named_files) == {"counter.py", "experiment.py"}
    for name, text in named_files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, *named_files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_a_synchroniser_runs() -> None:
    names: dict[str, Any] = {"arrival_usec": 10_000, "device_usec": 5_000}
    exec(python_block("docs/synchronisers.md", "process_timestamp"), names)
    assert names["time_usec"] >= 0


def test_the_example_of_the_boards_extension_runs(tmp_path: Path) -> None:
    head = "import syntalos_mlink as syl\ncommands = syl.get_output_port('commands')\n"
    body = textwrap.indent(python_block("docs/boards.md", "ms.pulse_train"), "    ")
    (tmp_path / "extension.py").write_text(f"{head}\ndef start():\n{body}")
    with ScriptRunner(tmp_path / "extension.py", outputs={"commands": "LineCommand"}) as runner:
        runner.start()
        assert len(runner.sent("commands")) == 4
