"""The virtual camera `virtual:scene`: its frames, the items in them, and its faults.

camera  the camera backend       stage  the items of a scene, drawn as each row exposes them
led     an LED                   lines  the levels of a board's lines over time
servo   a servo                  marks  frame number and time as black and white cells
faults  what a test can break in the camera
exposures  those that a board's line triggers      strobe  a camera's own line
"""
