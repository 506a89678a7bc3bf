"""Commands of a run, to the lines of a board: checked, carried out, written, timed."""
