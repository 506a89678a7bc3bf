"""Packets of clock exchanges: signed for one pair of hosts, and stamped by the kernel."""

import random
import time

import pytest

from mlink.errors import HostError
from mlink.hosts.clocks.wire import PACKET_BYTES, ClockSocket, Kind, Packet, Signer

KEY, OTHER = bytes(range(32)), bytes(32)
ANSWER = Packet(Kind.ANSWER, 7, -5, 1 << 62, -(1 << 62), -1)


def test_a_packet_is_read_as_it_was_packed():
    for packet in (ANSWER, Packet(Kind.HERE, 1), Packet(Kind.ASK, (1 << 64) - 1)):
        data = Signer(KEY).pack(packet)
        assert len(data) == PACKET_BYTES
        assert Signer(KEY).read(data) == packet


def test_packets_of_others_and_changed_ones_are_refused():
    data = Signer(KEY).pack(ANSWER)
    assert Signer(OTHER).read(data) is None
    for at in range(PACKET_BYTES):
        for bit in (0, 7):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            assert Signer(KEY).read(bytes(changed)) is None
    assert Signer(KEY).read(data[:-1]) is None
    assert Signer(KEY).read(data + b"\0") is None
    rng = random.Random(1)
    for size in (0, 1, PACKET_BYTES, PACKET_BYTES + 1):
        assert Signer(KEY).read(rng.randbytes(size)) is None


def test_a_key_of_another_length_is_refused():
    with pytest.raises(HostError, match="32 bytes"):
        Signer(b"short")


def test_an_arrival_has_the_moment_at_which_it_came_and_not_that_of_its_reading():
    with ClockSocket("127.0.0.1") as here, ClockSocket(peer=("127.0.0.1", here.port)) as there:
        late_ns = []
        for _ in range(10):
            assert there.send(b"x")
            came_ns = time.monotonic_ns()
            time.sleep(0.02)
            arrival = here.receive()
            assert arrival is not None
            assert arrival.data == b"x"
            late_ns.append(arrival.reading_ns - came_ns)
            assert here.receive() is None
        # the best of them: another program may have had the processor between two readings
        assert min(late_ns) < 10_000_000


def test_a_connected_socket_receives_from_its_peer_only():
    with ClockSocket("127.0.0.1") as peer, ClockSocket(peer=("127.0.0.1", peer.port)) as here:
        with ClockSocket(peer=("127.0.0.1", here.port)) as stranger:
            stranger.send(b"stranger")
        here.send(b"hello")
        arrival = peer.receive()
        assert arrival is not None
        peer.send(b"peer", arrival.sender)
        found = here.receive()
        assert found is not None
        assert found.data == b"peer"
        assert here.receive() is None


def test_a_port_in_use_and_an_unknown_address_are_said():
    with (
        ClockSocket("127.0.0.1") as taken,
        pytest.raises(HostError, match="already in use"),
    ):
        ClockSocket("127.0.0.1", taken.port)
    with pytest.raises(HostError, match=r"203\.0\.113\.9"):
        ClockSocket("203.0.113.9")
