"""Built-in modules: scripts, recorders, image processing, and the replay of recordings."""
