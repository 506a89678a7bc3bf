"""Built-in modules: scripts, recorders, tables."""
