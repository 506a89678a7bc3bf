"""Deferred encoding: videos that were recorded raw are encoded after the run.

Each file is encoded by a separate process (`file`), which verifies the result before it replaces
the original. `recording` finds the files and runs these processes. After a kill at any moment
either the original or the verified result exists, and `mlink encode` continues from there.
"""
