"""Hardware-in-the-loop testing: simulated boards, scenes and faults, and a pytest plugin."""
