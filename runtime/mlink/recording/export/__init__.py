"""Recordings in other formats, and what these exports share."""
