"""Frames with the times of a trigger: edges of a chip, paired with what the camera delivers."""
