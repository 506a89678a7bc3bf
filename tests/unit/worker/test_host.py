"""The loop of a worker, seen from its control channel."""

from __future__ import annotations

import socket
import threading

from mlink.channel import worker_channel
from mlink.metadata import Metadata
from mlink.module import ModuleSettings
from mlink.transport.doorbell import Doorbell
from mlink.worker.host import ModuleHost
from mlink.worker_spec import WorkerSpec
from tests.support.hosts.led_host import LedHost


def test_a_worker_whose_engine_dies_stops_even_if_a_message_to_it_failed_first() -> None:
    engine, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    spec = WorkerSpec(
        name="orphan", type_id="t", implementation="", settings_type="", inputs=(), outputs=(),
        bench_name="", bench_dir=".", work_dir=".", recording_dir=None,
        run_uuid=bytes(16), settings=b"",
    )  # fmt: skip
    doorbell = Doorbell()
    host = ModuleHost(spec, ModuleSettings(), worker_channel(worker), doorbell)
    host.started = True
    engine.close()
    host.report("figure", 1.0)  # cannot be sent any more
    loop = threading.Thread(target=host.serve, name="loop", daemon=True)
    loop.start()
    loop.join(60)
    assert not loop.is_alive()
    assert host.engine_lost
    assert host.failed
    assert not host.running
    doorbell.close()
    worker.close()


def test_times_of_a_led_host_are_as_uncertain_as_its_clock_and_that_is_added_once() -> None:
    engine, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    spec = WorkerSpec(
        name="led", type_id="t", implementation="", settings_type="", inputs=(), outputs=(),
        bench_name="", bench_dir=".", work_dir=".", recording_dir=None,
        run_uuid=bytes(16), settings=b"",
    )  # fmt: skip
    doorbell = Doorbell()
    host = ModuleHost(spec, ModuleSettings(), worker_channel(worker), doorbell)
    own: Metadata = {"uncertainty_usec": 7}
    assert host.with_host(own) == own  # it leads itself
    led = LedHost(delay_ns=100_000)
    host.follow(led.clock)
    assert host.clock is led.clock
    widened = host.with_host(own)
    part = widened["host_clock_usec"]
    assert isinstance(part, int)
    assert 100 <= part <= 1000
    assert widened["uncertainty_usec"] == 7 + part
    assert host.with_host({})["uncertainty_usec"] == part
    # a module that takes over the metadata of its input: the part is in there
    assert host.with_host(widened) == widened
    led.page.close()
    doorbell.close()
    engine.close()
    worker.close()
