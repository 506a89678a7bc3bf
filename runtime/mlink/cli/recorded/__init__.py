"""Commands that read, check and convert recordings."""
