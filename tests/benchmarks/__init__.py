"""Measurements beside peers and floors, each in one run; `make bench` prints all of them."""
