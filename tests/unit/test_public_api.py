"""Nothing that docs/api.md calls public changes without an entry in the changelog."""

from __future__ import annotations

import re

from tests.support import ROOT
from tests.support.public_surface import MODULES, surface

RELEASED = (ROOT / "tests/unit/public_api.txt").read_text().splitlines()
KIND = re.compile(r"(setting|input|output|argument|option|json|exit code|fixture|entry point) ")


def unreleased() -> str:
    """Return the changelog's section of what is not released yet; empty right after a release."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    section = re.search(r"^## Unreleased$(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE)
    return section[1] if section else ""


def named_in(text: str) -> set[str]:
    """Return the words that a text writes as code."""
    spans = re.findall(r"`([^`]+)`", text)
    return {word for span in spans for word in re.split(r"[\s(),=]+", span)}


def is_named(line: str, names: set[str]) -> bool:
    """Whether a line's subject is among the names, or the class that it belongs to is."""
    subject = re.split(r"[(:=]", KIND.sub("", line), maxsplit=1)[0].strip()
    owner = subject.rpartition(".")[0]
    if owner and owner not in MODULES and " " not in subject:
        return bool({subject, owner} & names)
    return set(subject.split()) <= names


def test_every_change_of_what_is_public_is_in_the_changelog() -> None:
    names = named_in(unreleased())
    now = surface()
    changes = [f"+ {line}" for line in now if line not in RELEASED]
    changes += [f"- {line}" for line in RELEASED if line not in now]
    unnamed = [change for change in changes if not is_named(change[2:], names)]
    assert not unnamed, (
        "these public names are not as in the last release, and the section Unreleased of "
        "CHANGELOG.md does not name them (`mlink.run`, `firmata-io` `baudrate`, `mlink run --for`; "
        "a class stands for its members):\n" + "\n".join(sorted(unnamed, key=lambda it: it[2:]))
    )


def test_what_counts_as_named() -> None:
    names = named_in("New: `mlink.Run`, `mlink run --for S`, `baud` of `firmata-io`; mlink.start.")
    assert is_named("json mlink run streams.sent", named_in("`mlink run --json`: `streams.sent`"))
    assert is_named("mlink.Run.wait(timeout_s: float) -> bool", names)
    assert is_named("mlink.Run(bench: Bench)", names)
    assert is_named("option mlink run --for", names)
    assert is_named("setting firmata-io baud: int = 57600", names)
    assert not is_named("json mlink run streams.sent", names)
    assert not is_named("mlink.start(bench: Bench) -> Run", names)
    assert not is_named("mlink.RunStatus.phase: Phase", names)
    assert not is_named("option mlink run --out", names)
    assert not is_named("setting camera-generic baud: int", names)


def test_commands_end_with_a_public_exit_code() -> None:
    sources = [*ROOT.glob("runtime/mlink/cli/**/*.py"), *ROOT.glob("hil/mlink_hil/*/command.py")]
    ends = [
        found for path in sources for found in re.findall(r"typer\.Exit\((.+?)\)", path.read_text())
    ]
    assert len(ends) > 5
    assert all(end.startswith("ExitCode.") for end in ends)
