"""The module that replaces a source in a replay: sends its recorded streams at the same times."""

from __future__ import annotations

import heapq
from pathlib import Path

import mlink.recording
from mlink.errors import StorageError
from mlink.metadata import Metadata, MetaSize, MetaValue, decode_metadata, encode_metadata
from mlink.module import Module, ModuleContext
from mlink.modules.replay.catalog import ReplaySettings
from mlink.modules.replay.feeds import Deliveries, Feed, Item, journal_feed, open_feed
from mlink.recording.collection import Recording
from mlink.recording.journal.reading import Journal, read_journal
from mlink.recording.stream import RecordedStream

_MOST_AT_STOP = 100_000
"""Items that may have come during a stop; nobody takes them before all are sent."""


class ReplayModule(Module[ReplaySettings]):
    """Sends the items of each stream in order, each at its recorded time.

    Streams with equal times are sent in the order of the settings, so that a replay is repeatable.
    """

    def __init__(self, context: ModuleContext[ReplaySettings]) -> None:
        super().__init__(context)
        self._recording: Recording | None = None
        self._feeds: list[Feed] = []
        self._next: list[tuple[int, int, Item]] = []
        """Heap of (due time in µs, number of the feed, item): the next item of each feed."""

    def prepare(self) -> None:
        """Open the streams and announce their recorded metadata."""
        self._recording = mlink.recording.open(Path(self.settings.recording))
        for port, stream in self.settings.streams.items():
            output = self.context.outputs[port]
            dataset = self._recording[stream.dataset]
            if self._recording.kinds[stream.dataset] == "journal":
                journal = self._journal(stream.dataset)
                output.metadata.update(journal.metadata_of(stream.source))
                self._feeds.append(journal_feed(journal, stream.source, output))
                continue
            try:
                output.metadata.update(_metadata(dataset))
                journals = [self._journal(name) for name in stream.journals]
                self._feeds.append(open_feed(dataset, output, Deliveries(journals, stream.source)))
            except StorageError as error:
                without = f"move its folder out of the recording, and add --without {stream.source}"
                raise StorageError(
                    error.message, remedy=error.remedy or f"To replay without it, {without}."
                ) from error

    def start(self) -> None:
        """Schedule the first item of each stream."""
        for number in range(len(self._feeds)):
            self._load(number, 0)
        self._schedule()

    def stop(self) -> None:
        """Send the items that came during the stop of the recorded run.

        Raises:
            StorageError: They are more than a stop explains.
        """
        for _ in range(_MOST_AT_STOP):
            if not (self.settings.whole and self._next):
                return
            self._send_next()
        raise StorageError(
            f"more than {_MOST_AT_STOP:,} items of the recording are later than its end",
            remedy="Leave them out: --until SECONDS (until_s=…).",
        )

    def close(self) -> None:
        """Close the recording."""
        for feed in self._feeds:
            feed.close()  # its thread may still decode
        if self._recording is not None:
            self._recording.close()

    def _journal(self, name: str) -> Journal:
        assert self._recording is not None
        dataset = self._recording[name]
        return read_journal(dataset.file(dataset.part_names[0]))

    def _load(self, number: int, earliest_usec: int) -> None:
        """Load the next item of a feed; items keep their order even if their times decrease."""
        item = next(self._feeds[number], None)
        if item is not None:
            heapq.heappush(self._next, (max(item.time_usec, earliest_usec), number, item))

    def _schedule(self) -> None:
        if self._next:
            delay_usec = self._next[0][0] - self.context.clock.now_usec()
            self.context.call_later(max(0, delay_usec), self._send_due)

    def _send_due(self) -> None:
        now = self.context.clock.now_usec()
        while self._next and self._next[0][0] <= now:
            self._send_next()
        self._schedule()

    def _send_next(self) -> None:
        time_usec, number, item = heapq.heappop(self._next)
        item.send()
        self._load(number, time_usec)


def _metadata(dataset: RecordedStream) -> Metadata:
    """Return the metadata of a stream with the types that its source used."""
    recorded = dataset.attributes.get("stream", {})
    try:
        return decode_metadata(encode_metadata({key: _value(recorded[key]) for key in recorded}))
    except (TypeError, ValueError, OverflowError) as error:
        raise StorageError(f"'{dataset.name}' has metadata of no source: {error}") from error


def _value(value: MetaValue) -> MetaValue:
    if isinstance(value, dict):
        width, height = value.get("width"), value.get("height")
        if len(value) == 2 and isinstance(width, int) and isinstance(height, int):
            return MetaSize(width, height)
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item) for item in value]
    return value
