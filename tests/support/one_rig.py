"""Spreads tests over the processes of pytest-xdist; those of the rig all go to one of them.

Any other process would boot the same guests once more. The mark `xdist_group` does not help: its
group is written to an attribute that tests do not have since pytest 9.2 (pytest-xdist 3.8.0).
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling


class OneRig(LoadScopeScheduling):
    """Gives the rig's tests to one process at the start, and each other test to the next free."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the tests that stay together; the largest group starts first."""
        return "tests/rig" if nodeid.startswith("tests/rig/") else nodeid
