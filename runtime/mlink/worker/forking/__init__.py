"""The fork server: starts all workers of a run, and ends what their modules leave behind."""
