"""Name of the dataset that a recorder writes to."""

from __future__ import annotations

from mlink.errors import ModuleError
from mlink.metadata import Metadata


def dataset_name(
    metadata: Metadata, *, from_source: bool, own_name: str, module_name: str, setting: str
) -> str:
    """Return the name of the dataset: proposed by the stream, set in the bench, or the module's.

    Args:
        metadata: Metadata of the stream.
        from_source: Whether to use `data_name_proposal` of the stream.
        own_name: Name set in the bench, used if `from_source` is false.
        module_name: Name of the recorder, used if the stream proposes none.
        setting: Key of `own_name`, for the error message.

    Raises:
        ModuleError: `from_source` is false and `own_name` is empty.
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
