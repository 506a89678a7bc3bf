"""The checks and repairs of `mlink doctor`."""
