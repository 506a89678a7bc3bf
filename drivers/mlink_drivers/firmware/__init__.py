"""mlink's own firmware: the committed images, and the command that writes them to a board."""
