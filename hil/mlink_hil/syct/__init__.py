"""Import of Syntalos project files (`.syct`), which become bench folders."""
