"""Settings of the module that takes a source's place in a replay; nothing heavy is imported."""

from __future__ import annotations

import msgspec

from mlink.module import ModuleSettings


class ReplayStream(msgspec.Struct):
    """Where the items of one output come from."""

    dataset: str
    """Name of a dataset of the recording."""
    source: str
    """ "module.port", to find it in a journal. """


class ReplaySettings(ModuleSettings, kw_only=True):
    """Settings of the replay source; made by `mlink.replay`, never written in a bench."""

    recording: str
    """The recording's folder."""
    whole: bool = True
    """Whether all that is left is sent at the stop: in the lab it came while the run ended."""
    streams: dict[str, ReplayStream] = {}
    """By output port; an output that is not named stays silent."""


IMPLEMENTATION = "mlink.modules.replay.source:ReplayModule"
