"""Hooks of the rig's tests: one process for all of them, or none without a rig."""

from __future__ import annotations

import pytest

from tests.rig.rig_runner import why_no_rig


def pytest_collection_modifyitems(items):
    """Run the rig's tests in one process of pytest-xdist; skip them where no guest can start."""
    marked = [item for item in items if "rig" in item.keywords]
    reason = why_no_rig() if marked else ""
    for item in marked:
        item.add_marker(pytest.mark.xdist_group("rig"))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
