"""Streams between the processes of a run: pipes for small items, shared memory for arrays."""
