"""`mlink verify-timing`: how long a loop takes, how cameras lag, how evenly a bench starts."""
