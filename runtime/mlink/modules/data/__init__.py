"""Recorders of table rows, signals and line readings: CSV, JSON and Zarr files."""
