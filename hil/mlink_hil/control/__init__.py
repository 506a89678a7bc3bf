"""Control protocol of simulated boards: messages, clients, and the process that serves them.

The clients import nothing of the simulator (`sim/`); both ends share `messages.py`.
"""
