"""The lines of `firmata-io` in a run: commands, readings, pulses, tables, reconnection."""
