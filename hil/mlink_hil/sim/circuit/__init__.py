"""Several simulated boards, chips and parts on one clock.

clock        common time in cycles of 16 MHz; runs processors in turns, and actions at their cycles
node         a board on that clock, with its own cycles
nets         wires: what drives each net, and what its pins see
wired_board  a board as clients see it: its pins are parts of nets
contact      a button that bounces
sensor       a voltage that changes
model        a device under test as a Python class
build        builds all of it from a plan
"""
