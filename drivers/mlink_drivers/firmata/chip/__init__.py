"""Extension protocol of mlink's own firmware: chip clock, edges, pulses, reflexes."""
