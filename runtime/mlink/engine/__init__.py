"""The engine: runs a bench, from the checked file to the closed recording."""
