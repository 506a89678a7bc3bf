"""The `[virtual]` table of a bench: simulated parts, wired to the lines of simulated boards.

lines          names of lines: "uno.8", "uno.A0"
part           base of all kinds of parts
scene_parts    what a virtual camera films: scene, LED, servo
circuit_parts  what is wired to boards: button, sensor, wire, chip, model
table          the table, read and checked
layout         from the table to the plans of the simulator (`sim/plan.py`)
together       starts the simulator's programs
"""
