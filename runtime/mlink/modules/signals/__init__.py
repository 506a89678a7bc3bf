"""Modules of signals: a filter, and a view of their newest seconds."""
