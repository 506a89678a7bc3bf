"""Names of the dataset and the files that a recorder writes."""

from __future__ import annotations

from mlink.errors import ModuleError
from mlink.metadata import Metadata
from mlink.storage.naming import name_from_source, proposed_names


def dataset_name(
    metadata: Metadata, *, from_source: bool, own_name: str, module_name: str, setting: str
) -> str:
    """Return the name of the dataset: of the stream's proposal or source, or set in the bench.

    Args:
        metadata: Metadata of the stream. A proposal "A/B" is for the dataset A; one without a
            slash is ignored, and the module that sends gives the name.
        from_source: Whether proposal and source are used.
        own_name: Name set in the bench, used if `from_source` is false.
        module_name: Name of the recorder, used if the source has none.
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
    return name_from_source(metadata, module_name)


def file_stem(metadata: Metadata, default: str, *, from_source: bool = True) -> str:
    """Return the name of a recorder's file without extension: the part B of a proposal "A/B".

    Args:
        metadata: Metadata of the stream.
        default: Name if there is no such part.
        from_source: Whether the proposal is used.
    """
    return (proposed_names(metadata)[1] if from_source else "") or default
