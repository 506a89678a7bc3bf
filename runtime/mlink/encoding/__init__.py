"""Deferred encoding: videos that were recorded raw are encoded when the run is over.

Each file is encoded by a process of its own (`file`), which verifies the result before it takes the
original's place; `recording` finds what is to be done and leads those processes. Killed at any
moment, either the original or the verified result is there, and `mlink encode` goes on from it.
"""
