"""Settings of the module that replaces a source in a replay; imports nothing heavy."""

from __future__ import annotations

import msgspec

from mlink.module import ModuleSettings


class ReplayStream(msgspec.Struct):
    """Origin of the items of one output."""

    dataset: str
    """Name of a dataset of the recording."""
    source: str
    """ "module.port" of the recorded stream, to find it in a journal."""
    journals: tuple[str, ...] = ()
    """Datasets of the journals of modules that received its frames or signal blocks."""


class ReplaySettings(ModuleSettings, kw_only=True):
    """Settings of the module; set by `mlink.replay`, never in a bench file."""

    recording: str
    """The recording's folder."""
    whole: bool = True
    """Whether items after the stop are sent too: in the recorded run they came during the stop."""
    streams: dict[str, ReplayStream] = {}
    """Streams by output port; other outputs stay silent."""


IMPLEMENTATION = "mlink.modules.replay.source:ReplayModule"
