"""What a run needs before its modules prepare: folder, devices, workers and their priorities."""
