"""Checks whether the computer was fast enough for a test's verdict to count."""
