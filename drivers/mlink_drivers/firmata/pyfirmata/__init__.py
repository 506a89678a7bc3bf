"""A board with the interface of pyFirmata2, for existing scripts; no part of `firmata-io`."""
