"""Files of time synchronisation points (tsync): their layout, written, read and repaired."""
