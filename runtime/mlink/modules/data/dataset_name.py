"""Which dataset a recorder writes to (spec: "Where a run goes")."""

from __future__ import annotations

from mlink.errors import ModuleError
from mlink.metadata import Metadata


def dataset_name(
    metadata: Metadata, *, from_source: bool, own_name: str, module_name: str, setting: str
) -> str:
    """Return the name to ask for: the stream's proposal, the setting, or the module's name.

    Raises ModuleError when the name shall not come from the source and `setting` is empty.
    """
    if not from_source:
        if not own_name.strip():
            raise ModuleError(
                f"module '{module_name}' has no name for its data",
                remedy=f"Set `{setting}` in the bench, or let the name come from the source.",
            )
        return own_name
    proposal = metadata.get("data_name_proposal")
    return proposal if isinstance(proposal, str) and proposal.strip() else module_name
