"""What programs on a board use: `SyntalosCommunicator`. MicroPython; sent before the program."""

import asyncio
import json
import sys
import time


class _Done:
    """Returned by what may be awaited or not."""

    def __await__(self):
        return iter(())

    __iter__ = __await__


class _OutputPort:
    """An output of the module."""

    def __init__(self, link, number):
        self._link = link
        self._number = number

    def send_data_sync(self, *values, timestamp_ms=None):
        """Send values; with the time at which they were taken, of `ticks_ms`."""
        message = {"p": self._number, "d": values}
        if timestamp_ms is not None:
            message["t"] = timestamp_ms
        self._link.send(message)

    async def send_data(self, *values, timestamp_ms=None):
        """Send values, and let other tasks run."""
        self.send_data_sync(*values, timestamp_ms=timestamp_ms)
        await asyncio.sleep(0)


class SyntalosCommunicator:
    """The board's end of the line."""

    def __init__(self):
        self._last = time.ticks_ms()
        self._total = 0
        self._ports = {}
        self._calls = {}
        self._inputs = {}
        self._reads = None
        self.send({"dc": "start-time", "t_ms": self.ticks_ms()})

    def send(self, message):
        """Send one message."""
        sys.stdout.write(json.dumps(message) + "\n")

    def ticks_ms(self):
        """Return ms; unlike those of `time` they do not wrap, if it is called every few days."""
        now = time.ticks_ms()
        self._total += time.ticks_diff(now, self._last)
        self._last = now
        return self._total

    def get_output_port(self, name):
        """Return an output by its id."""
        if name not in self._ports:
            number = len(self._ports)
            self._ports[name] = _OutputPort(self, number)
            self.send({"dc": "new-out-port", "i": number, "n": name})
        return self._ports[name]

    def register_on_input(self, name, call):
        """Call a function (or coroutine function) with the values of each row of an input."""
        self._calls[name] = call

    def enable_input(self):
        """Begin to read what the host sends."""
        if self._reads is None:
            self._reads = asyncio.create_task(self._read())
        return _Done()

    async def _read(self):
        stdin = asyncio.StreamReader(sys.stdin)
        while True:
            line = await stdin.readline()
            try:
                message = json.loads(line)
                if message.get("hc") == "in-port":
                    self._inputs[message["i"]] = message["p"]
                    continue
                call = self._calls.get(self._inputs.get(message["p"]))
                values = message["d"]
            except (ValueError, KeyError, AttributeError):
                continue
            if call is not None:
                result = call(values)
                if hasattr(result, "send"):
                    await result
