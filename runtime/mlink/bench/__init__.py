"""The bench: which modules run, how their ports connect, on which devices."""

from mlink.bench.bench import Bench, Time
from mlink.bench.load import load_bench
from mlink.bench.module import Connection, ModuleConfig

__all__ = ["Bench", "Connection", "ModuleConfig", "Time", "load_bench"]
