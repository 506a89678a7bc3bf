"""Bench modules for tests: virtual button, latency check."""
