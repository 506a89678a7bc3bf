"""Modules that transform frames, or show them in a window."""
