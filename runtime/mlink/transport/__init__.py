"""Streams between processes, over shared memory."""
