"""What the tests in the virtual rig share."""

from __future__ import annotations

import pytest

from tests.rig.rig_runner import rig_program


def pytest_collection_modifyitems(items):
    """Skip the rig's tests on a machine without a rig; run them in one process of pytest-xdist."""
    for item in items:
        if "rig" in item.keywords:
            item.add_marker(pytest.mark.xdist_group("rig"))
    if rig_program().exists():
        return
    skip = pytest.mark.skip(reason=f"there is no rig at {rig_program()} (set MLINK_RIG)")
    for item in items:
        if "rig" in item.keywords:
            item.add_marker(skip)
