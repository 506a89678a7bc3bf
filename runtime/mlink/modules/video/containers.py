"""Containers of the video recorder: the file formats that hold the pictures of a codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Container:
    """A file format of FFmpeg.

    The options limit what a kill can lose to about half a second.
    """

    format: str
    extension: str
    time_base: Fraction
    """Resolution of true times in s; the exact times are in the tsync file."""
    options: Mapping[str, str]
    counts_frames: bool = False
    """Whether it stores no times: the time of a frame is its number over the nominal rate."""


CONTAINERS: dict[str, Container] = {
    "matroska": Container(
        format="matroska",
        extension="mkv",
        time_base=Fraction(1, 1000),
        # Clusters of at most half a second, written at once: after a kill the file plays up to the
        # last of them. Raw colour has no codec id in Matroska; with this option it is stored
        # with the one of AVI, which players support.
        options={"cluster_time_limit": "500", "flush_packets": "1", "allow_raw_vfw": "1"},
    ),
    "mp4": Container(
        format="mp4",
        extension="mp4",
        time_base=Fraction(1, 1_000_000),
        # Fragments of half a second: an MP4 with one index at its end would be lost in a kill.
        options={
            "movflags": "empty_moov+default_base_moof",
            "frag_duration": "500000",
            "flush_packets": "1",
            "strict": "unofficial",
        },
    ),
    "avi": Container(
        format="avi",
        extension="avi",
        time_base=Fraction(0),
        options={"flush_packets": "1"},
        counts_frames=True,
    ),
}
