"""Benches that are refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.errors import BenchError


def refusal_of(folder: Path, module_type: str, settings: str) -> str:
    """Return why a bench of one module with such settings, lines of TOML, is refused."""
    (folder / "bench.toml").write_text(f'[modules.m]\ntype = "{module_type}"\n{settings}\n')
    with pytest.raises(BenchError) as caught:
        load_bench(folder)
    return str(caught.value)
