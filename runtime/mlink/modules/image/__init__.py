"""Modules that transform or show frames."""
