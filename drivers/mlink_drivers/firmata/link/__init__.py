"""The line to a board: ports, sessions and reconnection. It knows no pins."""
