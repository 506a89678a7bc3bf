"""Boards that run MicroPython: upload of a program, and the lines that it exchanges with us."""
