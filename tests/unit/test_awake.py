"""Processors are kept from sleeping while a bench closes a loop through a device."""

import struct

from mlink.awake import processors_awake
from mlink.bench import load_bench


def test_the_latency_is_held_open_for_the_block(tmp_path):
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    with processors_awake(latency_usec=7, device=device) as detail:
        assert struct.unpack("=i", device.read_bytes()) == (7,)
        assert "kept awake" in detail


def test_a_refusal_is_reported_with_what_allows_it(tmp_path):
    with processors_awake(device=tmp_path / "none") as detail:
        assert "No such file" in detail
        assert "mlink doctor --fix" in detail


def test_a_bench_may_let_them_sleep(tmp_path):
    path = tmp_path / "bench.toml"
    path.write_text('[bench]\nkeep_awake = false\n[modules.t]\ntype = "table"\n')
    assert not load_bench(path).keep_awake
