"""A run over several hosts: its parts, the streams between them, its phases, its recordings."""
