"""Faults on demand: by a test (`bench.faults`), or at master times by a bench's [[faults]]."""
