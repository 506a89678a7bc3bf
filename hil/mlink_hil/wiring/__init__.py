"""The `[virtual]` table of a bench: simulated things, wired to the lines of virtual boards.

lines       names of lines: "uno.8", "uno.A0"
parts       what can be wired, and its settings
table       the table, read and checked
plan        what the programs that simulate it are told
layout      from the table to those plans
together    starts the programs
"""
