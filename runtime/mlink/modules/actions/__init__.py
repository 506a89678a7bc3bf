"""Modules that act beside the streams: programs, sound, lines that a user sets by hand."""
