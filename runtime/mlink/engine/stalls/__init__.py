"""Workers without progress: where they stand, and whether the disk holds them up."""
