"""The process that hosts one module."""
