"""The loop of a worker, seen from its control channel."""

from __future__ import annotations

import socket
import threading

from mlink.channel import worker_channel
from mlink.module import ModuleSettings
from mlink.transport.doorbell import Doorbell
from mlink.worker.host import ModuleHost
from mlink.worker_spec import WorkerSpec


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
