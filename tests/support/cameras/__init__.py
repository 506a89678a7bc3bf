"""Cameras for tests: USB cameras in user space, cameras of the network."""
