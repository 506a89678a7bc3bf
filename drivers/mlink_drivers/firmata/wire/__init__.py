"""Firmata messages as bytes: parse, encode, wire times. No port, no thread."""
