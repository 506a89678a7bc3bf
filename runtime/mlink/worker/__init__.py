"""The worker: a process that hosts one module, and the fork server that starts it."""
