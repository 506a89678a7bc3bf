"""Journals of modules, which a replay plays back: their frames, records and state."""
