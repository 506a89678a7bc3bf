"""Spreads tests over the processes of pytest-xdist; those of the rig all go to one of them.

Any other process would boot the same guests once more. In the same way tests stay together whose
file has a fixture for all of them, such as a run. The mark `xdist_group` does not help: its
group is written to an attribute that tests do not have since pytest 9.2 (pytest-xdist 3.8.0).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling


class OneRig(LoadScopeScheduling):
    """Gives the rig's tests to one process at the start, and each other test to the next free."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the tests that stay together; the largest group starts first."""
        if nodeid.startswith("tests/rig/"):
            return "tests/rig"
        file = nodeid.partition("::")[0]
        return file if _shares_a_fixture(self.config.rootpath / file) else nodeid


@cache
def _shares_a_fixture(file: Path) -> bool:
    return '@pytest.fixture(scope="module"' in file.read_text()
