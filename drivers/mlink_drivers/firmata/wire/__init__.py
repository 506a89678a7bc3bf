"""Firmata messages as bytes: decoding, encoding and time on the wire. No port, no thread."""
