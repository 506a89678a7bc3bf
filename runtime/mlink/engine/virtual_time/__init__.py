"""Conductor of runs in virtual time: one module at a time gets its turn."""
