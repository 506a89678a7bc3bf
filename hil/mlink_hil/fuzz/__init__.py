"""A search over seeds: runs of a bench in virtual time, each with other disturbances.

limits    what may be disturbed, and how much: the `[fuzz]` table of a bench
draw      what a seed draws within these limits
trial     one run, or one pytest session, with a seed
search    many of them in parallel; the smallest set of kinds with which a seed still fails
command   `mlink fuzz`
"""
