"""Files of strangers, changed at random, and read by all that reads such files."""
