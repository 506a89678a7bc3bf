"""`mlink verify-timing`: round trips of a loop, latency of cameras, start-up of a bench."""
