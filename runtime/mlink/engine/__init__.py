"""The engine: leads a bench through a run, from the checked file to the closed recording."""
