"""Boards for tests: scripted ones, our firmware on a simulated chip, and firmata-io on them."""
