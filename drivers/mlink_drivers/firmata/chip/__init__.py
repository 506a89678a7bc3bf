"""The extension protocol of mlink's firmware: chip clock, edges, pulses, samples, reflexes."""
