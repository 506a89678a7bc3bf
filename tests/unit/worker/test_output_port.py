"""Who may send on an output of a worker."""

from __future__ import annotations

import threading

import pytest

from mlink.errors import StreamError
from mlink.module import PortSpec
from mlink.transport.records import open_pipe
from mlink.types import DataType
from mlink.worker.output_port import WorkerOutput


def test_a_thread_that_does_not_have_the_turn_may_not_send() -> None:
    output = WorkerOutput(PortSpec("rows", DataType.TableRow))
    with pytest.raises(StreamError, match="nothing can be sent on 'rows' yet"):
        output.submit(["1"])
    pipe = open_pipe()
    output.open_pipes([pipe.write, pipe.store], [0])
    refused: list[Exception] = []
    told: list[Exception] = []

    def send() -> None:
        try:
            output.submit(["2"])
        except StreamError as error:
            refused.append(error)

    for restricted in (False, True):
        if restricted:
            output.restrict_to(threading.get_ident(), told.append)
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
        assert bool(refused) == restricted
        assert told == refused
    output.submit(["3"])
    assert output.sent == 2
    assert output.end() == 2
    with pytest.raises(StreamError, match="the stream has ended"):
        output.submit(["4"])
    output.close()
