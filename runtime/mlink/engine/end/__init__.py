"""The end of a run: its length, the drain and the close of modules, and those that hang."""
