"""What stands behind `syntalos_mlink`: ports, lines and the link, as user scripts see them."""
