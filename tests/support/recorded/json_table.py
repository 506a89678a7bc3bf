"""Loads recorded JSON as any program may: inflates it, and parses the whole text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zstandard


def load_json(path: Path) -> Any:
    """Load a .json or .json.zst file; NaN, which is no JSON, is an error."""
    data = path.read_bytes()
    if path.name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return json.loads(data, parse_constant=_refuse)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
