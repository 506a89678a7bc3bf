"""Tap: a subscriber on all streams of a run that forwards them to a test or a view.

The tap is a module in the run (`module`), put into the bench by `attach`; the process that wants
the streams holds the other end (`link`). They exchange `messages` over a Unix socket.
"""
