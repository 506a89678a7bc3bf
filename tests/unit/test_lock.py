"""The lock files of set-up fit pyproject.toml and each other; after a change: `make lock`."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import tomllib
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support import ROOT

LOCK = ROOT / ".ci" / "lock"
FILES = sorted(LOCK.glob("*.txt"))
ENTRY = re.compile(r"^([a-z0-9][\w.-]*)==([^\s;]+)(.*?)(?=^[a-z#]|\Z)", re.MULTILINE | re.DOTALL)


def locked(name: str) -> set[tuple[str, Version]]:
    """Return the releases in a lock file; a package may have one for each range of Pythons."""
    entries = ENTRY.findall((LOCK / f"{name}.txt").read_text())
    return {(package, Version(version)) for package, version, _ in entries}


def test_every_requirement_is_locked_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    for text in asked:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        versions = [version for package, version in locked("all") if package == name]
        assert versions, f"{name} is not in .ci/lock/all.txt: make lock"
        assert all(requirement.specifier.contains(version) for version in versions), text


@pytest.mark.parametrize("name", ["run", "sim", "test"])
def test_the_files_for_one_purpose_have_the_versions_of_all(name: str) -> None:
    assert locked(name)
    assert locked(name) <= locked("all")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_release_has_hashes_and_no_address(path) -> None:
    entries = ENTRY.findall(path.read_text())
    assert entries
    assert all("--hash=sha256:" in rest for _, _, rest in entries)
    assert "://" not in path.read_text()


def test_the_npm_lock_has_digests_and_no_registry() -> None:
    text = (ROOT / "tests/support/peers/package-lock.json").read_text()
    assert '"resolved"' not in text
    assert text.count('"integrity"') == text.count('    "node_modules/')


def audited(asked) -> tuple[int, str]:
    found = runpy.run_path(str(ROOT / ".ci" / "audit.py"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = found["main"](asked)
    return code, printed.getvalue()


def test_an_advisory_of_a_locked_release_is_found() -> None:
    def database(query):
        return {
            "results": [
                {"vulns": [{"id": "GHSA-1"}]} if each["package"]["name"] == "numpy" else {}
                for each in query["queries"]
            ]
        }

    code, text = audited(database)
    assert code == 1
    assert re.search(r"numpy [\d.]+ \(PyPI\): GHSA-1", text)


def test_without_advisories_and_without_the_database() -> None:
    code, text = audited(lambda query: {"results": [{} for _ in query["queries"]]})
    assert (code, "none of" in text) == (0, True)

    def gone(_query):
        raise OSError("no route to host")

    for database in (gone, lambda _query: {}, lambda _query: {"results": []}):
        code, text = audited(database)
        assert (code, "were NOT compared" in text) == (0, True)
