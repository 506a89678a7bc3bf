"""Adapters between a board and the host: which bytes go on, and at which cycle."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink_drivers.firmata.link.latency import device_folder, lower_latency, read_latency
from mlink_hil.sim.plan import BoardPlan
from mlink_hil.sim.server.adapter import FtdiAdapter, NoAdapter, UsbAdapter, make_adapter

MSEC = 16_000
BYTE = 160  # 1 Mbaud


def delivered(adapter, limit: int = 1 << 40) -> list[tuple[int, int]]:
    """(cycle, number of bytes) of each delivery until nothing is held."""
    found = []
    while (due := adapter.due(sends_on=False)) is not None:
        assert due < limit
        assert adapter.take(due - 1) == b""
        found.append((due, len(adapter.take(due))))
    return found


def send(adapter, count: int, cycle: int = 0) -> None:
    for number in range(count):
        adapter.leave(number % 256, cycle + number * BYTE)


# -- none ----------------------------------------------------------------------------------------


def test_without_an_adapter_bytes_are_there_when_they_have_left():
    adapter = NoAdapter(in_turns=False)
    assert adapter.due(sends_on=True) is None
    send(adapter, 3, 500)
    assert adapter.due(sends_on=True) == 500
    assert adapter.take(500) == b"\0\1\2"
    assert adapter.due(sends_on=True) is None


def test_in_virtual_time_bytes_wait_until_the_board_falls_silent_or_a_millisecond():
    adapter = NoAdapter(in_turns=True)
    send(adapter, 3, 500)
    assert adapter.due(sends_on=True) == 500 + MSEC
    assert adapter.due(sends_on=False) == 500


# -- USB -----------------------------------------------------------------------------------------


def test_bytes_of_a_frame_go_with_the_next_in_packets_of_64_bytes():
    adapter = UsbAdapter()
    send(adapter, 100, 1)
    send(adapter, 1, MSEC)
    assert delivered(adapter) == [(MSEC, 64), (MSEC + 800, 36), (2 * MSEC, 1)]


def test_a_frame_has_room_for_20_packets():
    adapter = UsbAdapter()
    for _ in range(64 * 21):
        adapter.leave(0, 100)
    assert delivered(adapter)[-1] == (2 * MSEC, 64)


def test_what_the_host_sends_goes_with_the_next_frame_in_order():
    adapter = UsbAdapter()
    assert adapter.accept(b"ab", 5) == adapter.accept(b"c", 6) == MSEC
    assert adapter.accept(b"d", MSEC) == 2 * MSEC
    assert adapter.on_way == 4
    assert adapter.arrived(MSEC - 1) == b""
    assert adapter.arrived(MSEC) == b"abc"
    assert adapter.on_way == 1


# -- FTDI ----------------------------------------------------------------------------------------


def test_a_packet_goes_when_it_has_62_bytes_or_the_timer_has_run_out():
    adapter = FtdiAdapter(writable=True)
    send(adapter, 70)  # the packet is full when its last byte has left
    assert delivered(adapter) == [(61 * BYTE, 62), (61 * BYTE + 16 * MSEC, 8)]


def test_the_timer_runs_on_while_the_line_is_silent():
    adapter = FtdiAdapter(writable=True)
    adapter.leave(1, 100 * 16 * MSEC + 5 * MSEC)
    assert delivered(adapter) == [(101 * 16 * MSEC, 1)]
    adapter.leave(2, 101 * 16 * MSEC)
    assert delivered(adapter) == [(102 * 16 * MSEC, 1)]


def test_bytes_after_the_timer_are_a_packet_of_their_own_though_nobody_took_the_first():
    adapter = FtdiAdapter(writable=True)
    adapter.leave(1, 5)
    adapter.leave(2, 16 * MSEC)
    assert delivered(adapter) == [(16 * MSEC, 1), (32 * MSEC, 1)]


def test_a_driver_sets_the_timer_where_a_real_one_does_and_a_new_plug_undoes_it(tmp_path: Path):
    port = tmp_path / "uno.tty"
    adapter = FtdiAdapter(writable=True)
    adapter.plug(port)
    assert read_latency(str(port)).usec == 16_000
    assert lower_latency(str(port)).usec == 1000
    adapter.leave(1, 100)
    assert delivered(adapter) == [(MSEC, 1)]
    assert adapter.unplug() == 0
    assert not device_folder(port).exists()
    adapter.plug(port)
    assert read_latency(str(port)).usec == 16_000


def test_a_timer_without_permission_stays_for_root_too(tmp_path: Path):
    port = tmp_path / "uno.tty"
    adapter = FtdiAdapter(writable=False)
    adapter.plug(port)
    kept = lower_latency(str(port), name="unix:uno.tty")
    assert kept.usec == 16_000
    assert kept.report.startswith("latency timer of unix:uno.tty: 16 ms; it cannot be lowered")
    adapter.leave(1, 100)
    assert delivered(adapter) == [(16 * MSEC, 1)]


def test_a_usb_adapter_has_no_timer(tmp_path: Path):
    port = tmp_path / "uno.tty"
    adapter = UsbAdapter()
    adapter.plug(port)
    assert lower_latency(str(port)).usec == 1000
    adapter.unplug()
    assert read_latency(str(tmp_path / "uno.tty")).usec == 1000  # a port of that name in /dev


@pytest.mark.parametrize("kind", ["none", "usb", "ftdi"])
def test_a_pulled_cable_loses_what_is_on_its_way_and_counts_it(kind, tmp_path: Path):
    adapter = make_adapter(BoardPlan(name="uno", control="", adapter=kind), in_turns=True)
    adapter.plug(tmp_path / "uno.tty")
    send(adapter, 5, 1)
    adapter.accept(b"abc", 1)
    assert adapter.unplug() == 8
    assert adapter.due(sends_on=False) is None
    assert adapter.arrived(1 << 40) == b""
