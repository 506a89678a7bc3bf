"""The pyFirmata2 interface of a board, for existing pyFirmata2 scripts."""
