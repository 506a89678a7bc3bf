"""What `firmata-io` does with lines during a run: commands in, readings out."""
