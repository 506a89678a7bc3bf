"""Views of a run in progress: a live table in a terminal, plain lines elsewhere.

The engine calls a view from its own thread; a view starts no thread.
"""

from __future__ import annotations

import logging
import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlink.cli.terminal.output import plain_table, table_console
from mlink.closing import ClosesOnExit
from mlink.engine.status import Phase, RunStatus, StreamStatus, SubscriptionStatus

_PHASES = {
    Phase.CHECK: "checking",
    Phase.SPAWN: "starting processes",
    Phase.PREPARE: "preparing",
    Phase.START: "starting",
    Phase.RUN: "running",
    Phase.STOP: "stopping",
    Phase.CLOSE: "closing files",
    Phase.DONE: "done",
}
_LINE_PERIOD_S = 1.0
_LONGEST_S = 10.0
_NEARLY_FULL = 0.5


def make_view(bench_name: str, duration_s: float | None, *, plain: bool, quiet: bool) -> LogView:
    """Return the view for the present output.

    Args:
        bench_name: Title of the live table.
        duration_s: Length of the run in s, if it is known; shown beside the elapsed time.
        plain: Print plain lines even in a terminal.
        quiet: Print logs only, to stderr.
    """
    if quiet:
        return LogView(Console(stderr=True, soft_wrap=True, highlight=False))
    console = Console(highlight=False)
    if plain or not console.is_terminal:
        return PlainView(table_console(soft_wrap=True), duration_s)
    return LiveView(console, bench_name, duration_s)


class LogView(ClosesOnExit):
    """Prints the logs of modules and the output of scripts; base of the other views."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def close(self) -> None:
        """Do nothing: printed lines stay as they are."""

    def on_status(self, status: RunStatus) -> None:
        """Ignore the status."""

    def on_log(self, module: str, level: int, message: str) -> None:
        """Print a log message; warnings and errors in colour."""
        style, word = "", ""
        if level >= logging.ERROR:
            style, word = "red", "error: "
        elif level >= logging.WARNING:
            style, word = "yellow", "warning: "
        self._print(module, word + message, style)

    def on_output(self, module: str, text: str) -> None:
        """Print the output of a script."""
        self._print(module, text.rstrip("\n"), "")

    def _print(self, module: str, text: str, style: str) -> None:
        for line in text.split("\n"):
            prefix = Text(f"{module or 'mlink'} │ ", style="cyan")
            # from_ansi keeps the colours of a script's output and drops other control sequences.
            self.console.print(prefix + Text.from_ansi(line, style=style), soft_wrap=True)


class PlainView(LogView):
    """Prints a status line when phase or losses have changed, and every ten seconds."""

    def __init__(self, console: Console, duration_s: float | None) -> None:
        super().__init__(console)
        self._duration_s = duration_s
        self._last_line = time.monotonic()
        self._shown: tuple[Phase, int] | None = None

    def on_status(self, status: RunStatus) -> None:
        """Print a line if there is something new since the last, at most one a second."""
        since_s = time.monotonic() - self._last_line
        now = (status.phase, sum(stream.lost for stream in status.streams))
        period_s = _LINE_PERIOD_S if now != self._shown else _LONGEST_S
        if since_s < period_s or status.phase is Phase.DONE:
            return
        self._last_line += since_s
        self._shown = now
        self.console.print(Text(plain_line(status, self._duration_s)))


class LiveView(LogView):
    """Updates a table at the bottom of the terminal; logs scroll above it."""

    def __init__(self, console: Console, bench_name: str, duration_s: float | None) -> None:
        super().__init__(console)
        self._bench_name = bench_name
        self._duration_s = duration_s
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def close(self) -> None:
        """Remove the table from the terminal."""
        self._live.stop()

    def on_status(self, status: RunStatus) -> None:
        """Redraw the table."""
        view = live_table(status, self._bench_name, self._duration_s)
        self._live.update(view, refresh=True)


def plain_line(status: RunStatus, duration_s: float | None) -> str:
    """Return a status as one line."""
    parts = [f"{_elapsed(status, duration_s):>8}  {_PHASES[status.phase]}"]
    busy = [stream for stream in status.streams if stream.sent]
    parts += [f"{stream.name} {stream.sent} ({stream.rate_hz:.1f}/s)" for stream in busy]
    if status.streams:
        parts.append(f"lost {sum(stream.lost for stream in status.streams)}")
        if queued := sum(each.queued for stream in status.streams for each in stream.subscriptions):
            parts.append(f"queued {queued}")
    return "  ".join(parts)


def live_table(status: RunStatus, bench_name: str, duration_s: float | None) -> RenderableType:
    """Return a status as a table of streams, followed by the status texts of the modules."""
    title = Text(bench_name, style="bold")
    title.append(f"  {_PHASES[status.phase]}", style="green" if status.phase is Phase.RUN else "")
    title.append(f"  {_elapsed(status, duration_s)}")
    if status.phase is Phase.RUN:
        title.append("  Ctrl-C ends the run", style="dim")
    lines: list[RenderableType] = [Text(""), title]
    if status.streams:
        lines.append(_streams([stream for stream in status.streams if not stream.unused]))
    for module, text in status.module_status.items():
        lines.append(Text(f"{module}: ", style="cyan") + Text(text, style="not cyan"))
    return Group(*lines)


def _streams(streams: list[StreamStatus]) -> Table:
    numbers = ("rate", "sent", "received", "lost", "queue")
    table = plain_table("stream", "rate", "sent", "to", "received", "lost", "queue", right=numbers)
    for stream in streams:
        head = (Text(stream.name), f"{stream.rate_hz:.1f}/s", str(stream.sent))
        if not stream.subscriptions:
            table.add_row(*head, style="dim")
        for subscription in stream.subscriptions:
            table.add_row(*head, *_subscription(subscription))
            head = (Text(""), "", "")
    return table


def _subscription(subscription: SubscriptionStatus) -> tuple[Text, str, Text, Text]:
    limit = subscription.queue_limit
    full = limit > 0 and subscription.queued >= limit * _NEARLY_FULL
    queue = f"{subscription.queued}/{limit}" if limit else str(subscription.queued)
    return (
        Text(f"{subscription.module}.{subscription.port}"),
        str(subscription.received),
        Text(str(subscription.lost), style="bold red" if subscription.lost else ""),
        Text(queue, style="yellow" if full else ""),
    )


def _elapsed(status: RunStatus, duration_s: float | None) -> str:
    of = "" if duration_s is None else f"/{duration_s:g}"
    kind = " virtual" if status.time == "virtual" else ""
    return f"{status.elapsed_s:.1f}{of} s{kind}"
