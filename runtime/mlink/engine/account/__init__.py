"""What a run counts over time: rates of its streams, and losses by time."""
