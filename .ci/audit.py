"""Compares all locked releases with known advisories: `make audit`.

It asks the database of advisories OSV, which has those of Python packages and of npm. Exit code 1
when a release has one; 0 when none has, or when the database cannot be reached, which it reports.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_ENTRY = re.compile(r"^([a-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)
_DATABASE = "https://api.osv.dev/v1/querybatch"
_TIMEOUT_S = 20
_AT_ONCE = 500
Release = tuple[str, str, str]
"""Registry, name, version."""


def locked() -> list[Release]:
    """Return the releases of all lock files."""
    found: set[Release] = set()
    for path in (ROOT / ".ci" / "lock").glob("*.txt"):
        found |= {("PyPI", name, version) for name, version in _ENTRY.findall(path.read_text())}
    packages = json.loads((ROOT / "tests/support/peers/package-lock.json").read_text())["packages"]
    for place, package in packages.items():
        if name := place.rpartition("node_modules/")[2]:
            found.add(("npm", name, package["version"]))
    return sorted(found)


def ask(query: dict[str, Any]) -> dict[str, Any]:
    """Return the database's answer; OSError when it cannot be reached, ValueError if it is none."""
    request = urllib.request.Request(
        _DATABASE, json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - https
        answer: dict[str, Any] = json.load(reply)
        return answer


def advisories(
    releases: list[Release], asked: Callable[[dict[str, Any]], dict[str, Any]] = ask
) -> dict[Release, list[str]]:
    """Return the advisories of those releases that have any."""
    found: dict[Release, list[str]] = {}
    for at in range(0, len(releases), _AT_ONCE):
        some = releases[at : at + _AT_ONCE]
        queries = [
            {"package": {"ecosystem": registry, "name": name}, "version": version}
            for registry, name, version in some
        ]
        results = asked({"queries": queries})["results"]
        for release, result in zip(some, results, strict=True):
            if ids := [each["id"] for each in result.get("vulns", [])]:
                found[release] = ids
    return found


def main(asked: Callable[[dict[str, Any]], dict[str, Any]] = ask) -> int:
    """Print what was found; return the exit code."""
    releases = locked()
    try:
        found = advisories(releases, asked)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(
            f"audit: {len(releases)} locked releases were NOT compared with advisories: "
            f"the database cannot be asked ({error})"
        )
        return 0
    for (registry, name, version), ids in found.items():
        print(f"audit: {name} {version} ({registry}): {', '.join(ids)}")
    if found:
        print("audit: make lock takes the newest releases; https://osv.dev/ID describes each")
        return 1
    print(f"audit: none of {len(releases)} locked releases has a known advisory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
