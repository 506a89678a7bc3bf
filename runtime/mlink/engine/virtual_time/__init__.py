"""Runs in virtual time (today replays): the conductor lets one module at a time run."""
