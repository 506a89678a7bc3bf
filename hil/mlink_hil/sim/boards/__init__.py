"""Simulated boards: an AVR chip that runs real firmware, and a stand-in without firmware."""
