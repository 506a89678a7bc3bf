"""Recordings after the run: open them, verify them, finish what a crash left, export them."""
