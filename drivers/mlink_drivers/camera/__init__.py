"""Cameras: the module `camera-generic`, its capture thread, and the backends for its sources."""
