"""Tap: a subscriber of lowest priority on any stream, for views and tests."""
