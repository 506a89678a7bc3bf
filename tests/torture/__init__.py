"""Disturbs a bench of every kind of module at random moments, and checks the run's account.

`injections` defines what is done, and what may come of it; `disturb` runs a bench and does it;
`checks` compares what the run reports with what is on the disk and what was sent; `known` lists
faults that are not fixed yet; `tally` counts. `test_torture.py` does about 20 in each CI run, 1,000
with `-m long`; `python -m tests.torture --count 100 --seed 7` does it by hand and prints a table.
"""
