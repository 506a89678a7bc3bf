"""Recordings on disk: the folder layout (EDL), the times of frames (tsync), and their names."""
