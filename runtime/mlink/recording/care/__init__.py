"""Verification and repair of recordings; above `mlink.recording`, which does not import it."""
