"""The process around simulated boards: serial port, control socket, pace, requests."""
