"""What a test has seen of its run: events in histories, and what it may have missed."""
