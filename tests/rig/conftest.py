"""What the tests in the virtual rig share."""

from __future__ import annotations

import pytest

from tests.rig.rig_runner import rig_program


def pytest_collection_modifyitems(items):
    """Skip the rig's tests, with the reason, on a machine that has no rig."""
    if rig_program().exists():
        return
    skip = pytest.mark.skip(reason=f"there is no rig at {rig_program()} (set MLINK_RIG)")
    for item in items:
        if "rig" in item.keywords:
            item.add_marker(skip)
