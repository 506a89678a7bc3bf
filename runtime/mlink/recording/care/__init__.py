"""Verify and repair recordings."""
