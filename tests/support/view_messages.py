"""Reads what a run sends to the program of its view."""

from __future__ import annotations

import asyncio

from mlink.view.wire import read_from_run


def read_all(data):
    """Return the messages in these bytes, up to their end or where they break off."""

    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        while (message := await read_from_run(reader)) is not None:
            found.append(message)
        return found

    return asyncio.run(read())
