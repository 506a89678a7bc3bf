"""Stands in for `mlink_hil.testing.observed.sight.Sight` where nothing is missed."""

from __future__ import annotations

from types import SimpleNamespace

ALL_SEEN = SimpleNamespace(
    complete=lambda _channel, _time_usec, _decided: "",
    unseen=lambda _channel, _from_usec, _to_usec: None,
    is_over=lambda _channel, _time_usec: False,
    ended_before=lambda _time_usec: "",
)
