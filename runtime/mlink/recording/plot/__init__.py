"""Overview picture of a recording."""
