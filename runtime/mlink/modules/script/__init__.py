"""Modules that run user scripts and programs."""
