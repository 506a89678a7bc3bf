"""Modules of trials in Syntalos projects: a source of every stream type, a clock, a meter."""
