"""Implementation of `syntalos_mlink`: ports, lines and the link of user scripts."""
