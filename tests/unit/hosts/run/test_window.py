"""The two ends of a stream between hosts, over a link that loses, repeats, reorders and stops."""

from __future__ import annotations

import random

import msgspec
import pytest

from mlink.hosts.run.window import Ack, Inbox, Item, Outbox, Packet, encode, read_down, read_up


def outbox(**given) -> Outbox:
    return Outbox(**{"most_items": 1000, "most_bytes": 1 << 20, **given})


def item(seq: int, size: int = 8) -> Item:
    return Item(seq, seq * 10, b"x" * size)


def accept(inbox: Inbox, packets: list[Packet], received: list[int]) -> None:
    """Take packets, and check that gaps and items together are the stream without a hole."""
    for packet in packets:
        for found in inbox.take(read_down(encode(packet))):
            if isinstance(found, int):
                received += [-1] * found
            else:
                assert found.seq == len(received)
                received.append(found.seq)


def test_items_arrive_in_order_and_the_end_is_their_count():
    out, inbox, received = outbox(), Inbox(), []
    for seq in range(10):
        assert out.offer(item(seq))
    out.end(10)
    accept(inbox, out.due(0.0), received)
    assert received == list(range(10))
    assert inbox.ended
    out.acknowledge(read_up(encode(inbox.ack())), 0.0)
    assert (out.has_ended, out.left) == (True, 0)


def test_items_that_wait_together_cross_in_one_packet():
    out = outbox()
    for seq in range(20):
        out.offer(item(seq))
    (packet,) = out.due(0.0)
    assert len(packet.items) == 20


def test_a_large_item_has_a_packet_of_its_own():
    out = outbox()
    for seq in range(3):
        out.offer(item(seq, 40_000))
    assert [len(packet.items) for packet in out.due(0.0)] == [1, 1, 1]


def test_what_was_on_the_way_when_the_link_broke_is_sent_again():
    out, inbox, received = outbox(patience_s=0.5), Inbox(), []
    out.offer(item(0))
    out.due(0.0)  # lost
    assert out.due(0.4) == []
    accept(inbox, out.due(0.6), received)
    assert (received, out.resent) == ([0], 1)


def test_a_receiver_asks_for_the_packet_that_it_misses():
    out, inbox, received = outbox(), Inbox(), []
    out.offer(item(0))
    out.due(0.0)  # lost
    out.offer(item(1))
    accept(inbox, out.due(0.0), received)
    assert received == []
    out.acknowledge(inbox.ack(), 0.0)
    accept(inbox, out.due(0.0), received)
    assert received == [0, 1]
    assert not inbox.ack().again


def test_a_link_that_stands_still_costs_a_bounded_number_of_items_and_all_are_counted():
    out, inbox, received = outbox(most_items=100, window=4), Inbox(), []
    for seq in range(1000):
        out.offer(item(seq))
        out.due(0.0)  # nothing arrives
    assert (out.left, out.dropped) == (100, 900)
    out.offer(item(1000))
    out.end(1001)
    for turn in range(20):
        accept(inbox, out.due(1.0 + turn), received)
        out.acknowledge(inbox.ack(), 1.0 + turn)
    assert inbox.ended
    assert (inbox.received, inbox.lost) == (100, 901)
    assert received == [*range(100), *[-1] * 901]


def test_the_bytes_that_wait_are_bounded_too():
    out = outbox(most_bytes=1000)
    assert [out.offer(item(seq, 400)) for seq in range(3)] == [True, True, False]


def test_newest_keeps_one_waiting_item_and_the_receiver_sees_a_gap():
    out, inbox, received = outbox(newest=True), Inbox(), []
    for seq in range(10):
        out.offer(item(seq))
        if seq < 2:
            accept(inbox, out.due(0.0), received)
    assert (out.left, out.dropped) == (3, 7)
    out.acknowledge(inbox.ack(), 0.0)
    accept(inbox, out.due(0.0), received)
    assert received == [0, 1, *[-1] * 7, 9]


def test_newest_gives_up_what_was_on_the_way_and_goes_on():
    out, inbox, received = outbox(newest=True, patience_s=0.5), Inbox(), []
    for seq in range(2):
        out.offer(item(seq))
        out.due(0.0)  # lost
    out.offer(item(2))
    accept(inbox, out.due(1.0), received)
    assert received == [-1, -1, 2]
    assert inbox.lost == 2


def test_acknowledgements_of_packets_that_were_never_sent_are_not_taken():
    out = outbox()
    out.offer(item(0))
    out.due(0.0)
    out.acknowledge(Ack(7, 7, 0, ended=True), 0.0)
    assert (out.left, out.has_ended) == (1, False)


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_over_any_link_each_item_is_received_or_counted_as_lost_once(seed, newest):
    chance = random.Random(seed)
    out, inbox, received = outbox(most_items=50, window=5, newest=newest), Inbox(), []
    down: list[Packet] = []
    up: list[Ack] = []
    total, now_s = 400, 0.0
    seq = taken = 0
    for _ in range(100_000):
        now_s += 0.01
        if seq < total:
            if chance.random() < 0.9:  # else lost before this end
                taken += out.offer(item(seq))
            seq += 1
        elif seq == total:
            out.end(total)
            seq += 1
        is_cut = seq < total and (seq // 50) % 2 == 1
        for message in out.due(now_s):
            if not is_cut and chance.random() < 0.8:
                down += [message] * chance.choice((1, 1, 2))
        chance.shuffle(down)
        accept(inbox, down[:3], received)
        del down[:3]
        if chance.random() < 0.7:
            up.append(inbox.ack())
        chance.shuffle(up)
        for ack in up[:2]:
            out.acknowledge(ack, now_s)
        del up[:2]
        if out.has_ended:
            break
    assert out.has_ended
    assert len(received) == inbox.received + inbox.lost == total
    assert (out.ack.received, out.ack.lost) == (inbox.received, inbox.lost)
    if not newest:  # whatever was taken is received
        assert inbox.received == taken


def test_a_message_that_is_none_is_refused():
    for data in (b"", b"\xc1", b"junk" * 10, encode(Ack(0, 0, 0)), msgspec.msgpack.encode([1, 2])):
        with pytest.raises(msgspec.MsgspecError):
            read_down(data)
    with pytest.raises(msgspec.MsgspecError):
        read_up(encode(Packet(0, 0, [])))
    with pytest.raises(msgspec.MsgspecError):
        read_down(msgspec.msgpack.encode(["p", -1, 0, []]))
