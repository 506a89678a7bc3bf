"""How bytes reach a board: ports, threads, sessions, reconnects. Knows no pins."""
