"""Runs and recordings in a browser: `mlink run BENCH --view`, `mlink view` (docs/view.md).

A program of its own serves the page; nothing of it is on the way of a run's items.

    run ── run/link ──────▶ program ──▶ page/ in the browser
    its worker "mlink-view" ── run/feed ──▶

run/         what of it runs in the run's own processes
recordings/  recordings, each read by a process of its own
messages     what run, feed and program exchange; what the program and the page exchange
wire         these messages as bytes
picture      a frame as a JPEG, with its brightness
thin         as many points as a page can show
state        what the program knows of the run; bounded
guard        tokens, cookies, hosts and origins
client       one page: what it watches, and how fast it reads
app          the paths that are served
server       addresses, and the server
program      `python -m mlink.view.program`: the page of one run
home         benches and recordings below a folder, and the runs that a page starts
works        what a page lets be done with a recording: downloads, verify, repair, export
folder       the program of `mlink view`
"""
