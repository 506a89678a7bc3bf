"""Control protocol of simulated boards: messages, clients and the simulator's process."""
