"""Drivers: boards and cameras as modules, and the discovery of devices."""
