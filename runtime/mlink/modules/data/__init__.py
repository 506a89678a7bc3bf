"""Recorders for tables, signals and JSON or Zarr data."""
