"""Hooks of the rig's tests: they are skipped where there is no rig."""

from __future__ import annotations

import pytest

from tests.rig.rig_runner import why_no_rig


def pytest_collection_modifyitems(items):
    """Skip the rig's tests where no guest can start, with the reason."""
    marked = [item for item in items if "rig" in item.keywords]
    if marked and (reason := why_no_rig()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
