"""Runs and recordings in a browser: `mlink run BENCH --view`, `mlink view` (docs/view.md).

A program of its own serves the page; nothing of it is on the way of a run's items.

    run ── link ──────▶ program ──▶ page/ in the browser
    its worker "mlink-view" ── feed ──▶

messages  what run, feed and program exchange; what the program and the page exchange
feed      the module that sees all streams of a run; newest frames win
control   commands of pages: checked, sent, answered, recorded
line      the ends of run and feed of their connections to the program
link      the run's end: starts the program, passes on status, logs and the result
picture   a frame as a JPEG, with its brightness
thin      as many points as a page can show
state     what the program knows of the run; bounded
guard     tokens, cookies, hosts and origins
client    one page: what it watches, and how fast it reads
recorded  what a page sees of a recording
reader    the process that reads one recording, and its end in the program
library   which recordings may be read
app       the paths that are served
server    addresses, and the server
program   `python -m mlink.view.program`: the page of one run
home      benches and recordings below a folder, and the runs that a page starts
folder    the program of `mlink view`
"""
