"""Several simulated boards, chips and parts on one clock: `python -m mlink_hil.sim.circuit`.

clock       common time, in cycles of 16 MHz; what happens when
node        a board on that clock, with an offset of its own
nets        wires: who drives what, and what everybody else sees of it
contact     a button that bounces      sensor   a voltage that changes
model       a device under test as a Python class
build       makes all of it from a plan
__main__    the program
"""
