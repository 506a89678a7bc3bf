"""Recordings for tests: made, killed, on failing disks, and read by other programs."""
