"""Modules that run user scripts (`pyscript`) and programs (`python`)."""
