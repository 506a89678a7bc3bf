"""What of a view runs in the run's own processes: its ends of the connections to the program.

feed      the module that sees all streams of a run; newest frames win
control   commands of pages: checked, sent, answered, recorded
link      the run's end: starts the program, passes on status, logs and the result
stepping  steps and looks that pages ask for, in virtual time
line      the ends of run and feed of their connections to the program
"""
